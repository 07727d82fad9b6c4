"""Which process supervises a run, and whether it still does."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from manager.launch.local_process import ProcessIdentity, identify, is_alive

LONGEST_SILENCE_S = 2400.0
"""A client writes a row each half minute: a charge, else a sign of life (`manager.runs.beats`); a single call that
hangs on its way may keep it from that for half an hour. After this long it counts as gone where it cannot be asked (on
another host, of another user), and as hanging where it can."""
_MACHINE_ID = Path("/etc/machine-id")


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
    machine: str | None = None
    """Tells machines of one host name, and users of one machine, apart where several share a ledger; None: in a file,
    which one user of one machine has."""


def this_client(now_s: float) -> Client:
    """The process that runs this line."""
    me = identify(os.getpid())
    assert me is not None, "a process that asks lives"
    return _here(now_s, me.pid, me.created_at_s)


def nobody(now_s: float) -> Client:
    """The row that ends a supervision."""
    return _here(now_s, 0, 0.0)


def is_here(client: Client) -> bool:
    """Whether the client is a process of this user on this machine, so that it can be asked about, and ended."""
    known = (None, this_machine(), _machine_of_any_user())
    return client.host == platform.node() and client.machine in known


def is_own(client: Client | None) -> bool:
    """Whether the client is the process that runs this line."""
    return client is not None and client.pid == os.getpid() and is_here(client)


def lives(client: Client | None, *, last_activity_s: float, now_s: float) -> bool:
    """Whether the client still supervises: the process on this host, recent rows in the ledger from another one."""
    if client is None or client.pid == 0:
        return False
    if is_here(client):
        return is_alive(ProcessIdentity(pid=client.pid, created_at_s=client.created_at_s))
    return now_s - last_activity_s < LONGEST_SILENCE_S


@cache
def this_machine() -> str:
    """A name that no other machine, container with processes of its own, or user has; it says nothing about them."""
    return _hashed([*_marks(), f"uid {os.getuid()}"])


@cache
def _machine_of_any_user() -> str:
    """What versions wrote that did not tell users apart."""
    return _hashed(_marks())


def _marks() -> list[str]:
    told = [platform.node()]
    with suppress(OSError):
        told.append(_MACHINE_ID.read_text(encoding="ascii", errors="replace").strip())
    if len(told) == 1:
        told.append(f"{uuid.getnode():x}")
    # Containers of one image have one machine-id, and pids of their own.
    with suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))
    return told


def _hashed(told: list[str]) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _here(now_s: float, pid: int, created_at_s: float) -> Client:
    return Client(
        row_id=None, at_s=now_s, host=platform.node(), pid=pid, created_at_s=created_at_s, machine=this_machine()
    )
