"""Which process supervises a run, and whether it still does."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from manager.launch.local_process import ProcessIdentity, identify, is_alive

FOREIGN_SILENCE_S = 2400.0
"""A client on another host cannot be asked; it writes at least a charge each half minute once the machine runs, and a
launch may last half an hour. After this long without a row it counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A process that supervises a run."""

    row_id: int | None
    """Of its row in the ledger; None before it is stored."""
    at_s: float
    """When it took over, Unix time in seconds."""
    host: str
    pid: int
    """0: nobody; the client before left the run in good order."""
    created_at_s: float
    """Creation time of the process, Unix time in seconds."""


def this_client(now_s: float) -> Client:
    """The process that runs this line."""
    me = identify(os.getpid())
    assert me is not None, "a process that asks lives"
    return Client(row_id=None, at_s=now_s, host=platform.node(), pid=me.pid, created_at_s=me.created_at_s)


def nobody(now_s: float) -> Client:
    """The row that ends a supervision."""
    return Client(row_id=None, at_s=now_s, host=platform.node(), pid=0, created_at_s=0.0)


def lives(client: Client | None, *, last_activity_s: float, now_s: float) -> bool:
    """Whether the client still supervises: the process on this host, recent rows in the ledger from another one."""
    if client is None or client.pid == 0:
        return False
    if client.host == platform.node():
        return is_alive(ProcessIdentity(pid=client.pid, created_at_s=client.created_at_s))
    return now_s - last_activity_s < FOREIGN_SILENCE_S
