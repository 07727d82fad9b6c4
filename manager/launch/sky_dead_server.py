"""What a killed API server of SkyPilot leaves: processes that go on without it, and bar its successor.

SkyPilot 0.14 works in children of its server. One that is killed (SIGKILL, out of memory) cannot end them:

* the queue manager keeps a fixed port beside the server's, and each server that is started afterwards exits because the
  port is taken: no machine could be taken down any more, and `sky api stop` does not find it either;
* an executor goes on with its request. A launch whose client has been told that it failed rents its machine all the
  same, after everybody has looked whether there is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_CHILD = "--multiprocessing-fork"
"""How Python starts a child that shares nothing with its parent; the queue manager is one."""
_OWN_NAME = "SkyPilot:"
"""What SkyPilot's processes call themselves (setproctitle)."""
_EXECUTOR = f"{_OWN_NAME}executor:"
_END_S = 5.0


def end_orphans(*, port: Callable[[], int], folder: Path) -> list[int]:
    """End this user's queue managers and executors whose API server is gone, and what they started; gives their pids.

    One whose parent lives belongs to a server, also to one that is just starting, and is left alone; so is what another
    installation's server left.

    Args:
        port: on which SkyPilot's queue manager listens; asked only where there may be such a process.
        folder: SkyPilot's own, whose files an executor has open.
    """
    queues, executors = [], []
    for process, command in _without_server():
        if _CHILD in command:
            queues.append(process)
        elif command[0].startswith(_EXECUTOR) and _works_in(process, folder):
            executors.append(process)
    taken = port() if queues else None
    found = [*executors, *(process for process in queues if taken is not None and _listens_on(process, taken))]
    with_children = [*found, *(child for process in executors for child in _children(process))]
    for process in with_children:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(with_children, timeout=_END_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_END_S)
    return [process.pid for process in found]


def _without_server() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            is_child = bool(command) and (_CHILD in command or command[0].startswith(_EXECUTOR))
            if not is_child or process.uids().real != os.getuid():
                continue
            parent = process.parent()
            if parent is None or not _may_be_server(parent):
                yield process, command
        except psutil.Error:
            continue


def _may_be_server(process: psutil.Process) -> bool:
    """Whether it may be the API server, or another program that started the child itself: then it is no orphan."""
    command = process.cmdline() or [""]
    return "python" in os.path.basename(command[0]) or command[0].startswith(_OWN_NAME)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(Path(one.path).is_relative_to(folder) for one in process.open_files())
    except psutil.Error:
        return False


def _listens_on(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
