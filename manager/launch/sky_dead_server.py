"""What a killed API server of SkyPilot leaves: the process of its queues, whose port no new server gets.

SkyPilot 0.14 starts its queue manager as a child and gives it a fixed port beside the server's. A server that is killed
(SIGKILL, out of memory) cannot end it, and each server that is started afterwards exits because the port is taken: no
machine could be taken down any more. `sky api stop` does not find it either.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psutil

_CHILD = "--multiprocessing-fork"
"""How Python starts a child that shares nothing with its parent; the queue manager is one."""
_SERVER = "sky.server.server"
_END_S = 5.0


def end_orphaned_queues(port: Callable[[], int]) -> list[int]:
    """End this user's queue managers on a port whose API server is gone; gives their pids.

    One whose parent lives belongs to a server, also to one that is just starting, and is left alone.

    Args:
        port: on which SkyPilot's queue manager listens; asked only where there may be such a process.
    """
    orphans = list(_children_without_server())
    taken = port() if orphans else None
    ended = [process for process in orphans if taken is not None and _listens_on(process, taken)]
    for process in ended:
        process.terminate()
    _, alive = psutil.wait_procs(ended, timeout=_END_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=_END_S)
    return [process.pid for process in ended]


def _children_without_server() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid() or _CHILD not in process.cmdline():
                continue
            parent = process.parent()
            if parent is None or not _is_python(parent):
                yield process
        except psutil.Error:
            continue


def _is_python(process: psutil.Process) -> bool:
    """Whether it may be the API server or another program that started the child itself: then it is no orphan."""
    command = process.cmdline()
    return _SERVER in command or "python" in os.path.basename(command[0] if command else "")


def _listens_on(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
