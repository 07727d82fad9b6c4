"""The second port of SkyPilot's API server, which the kernel may have given to somebody's connection.

SkyPilot 0.14 derives the port of its queue manager from the server's (sky/server/requests/queues/mp_queue.py), always
within the range of the kernel's own choices. A connection that has it, or had it within the last minute, keeps the
server from starting: with the hundreds that an emulated cloud makes a minute, one start in forty.
"""

import contextlib
import socket
from pathlib import Path

from .sky_client import pick_free_port

_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
_SKY_SERVER_PORT, _SKY_QUEUE_PORT = 46580, 50011


def pick_api_port() -> int:
    """Give a port for the server whose queue manager's is free too; until it is released nobody is given that one."""
    while True:
        port = pick_free_port()
        _reserve(queue_port(port))
        if _is_free(queue_port(port)):
            return port
        release_queue_port(port)


def queue_port(api_port: int) -> int:
    """The queue manager's port, as SkyPilot derives it."""
    return 50000 + (_SKY_QUEUE_PORT - 50000 + api_port - _SKY_SERVER_PORT) % 10000


def release_queue_port(api_port: int) -> None:
    """Let the kernel choose the port again; harmless when it may already."""
    _write(_reserved() - {str(queue_port(api_port))})


def _reserve(port: int) -> None:
    _write(_reserved() | {str(port)})


def _reserved() -> set[str]:
    with contextlib.suppress(OSError):
        return set(_RESERVED.read_text().strip().split(",")) - {""}
    return set()


def _write(ports: set[str]) -> None:
    # Where the kernel does not let us the risk stays as it is for every user.
    with contextlib.suppress(OSError):
        _RESERVED.write_text(",".join(sorted(ports)) + "\n")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
