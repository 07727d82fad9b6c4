"""In each Python process of the tests: no connection leaves this machine, but to the registries that the user set.

Python imports this module at its start where this folder is on PYTHONPATH. An attempt is refused as a closed network
would refuse it, and noted in the file that `tests.support.connections` reads at the end of the session. Standard
library only, Python 3.9 and later, and cheap: the hook sees every audited event of a process.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

FILE_VARIABLE = "TUNEFARE_TESTS_AUDIT_FILE"
"""Where attempts are noted, a line each; without it there is no audit."""
ALLOWED_VARIABLE = "TUNEFARE_TESTS_AUDIT_ALLOWED"
"""Hosts of registries and proxies, with commas between."""
HOOK_VARIABLE = "TUNEFARE_TESTS_HOOK"
"""A Python file that each process runs at its start: what a lab changes in programs that are not its own."""
_ASKING = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SENDING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_RESERVED = (".invalid", ".test", ".example", ".localhost", ".local")
"""Names that nobody has (RFC 2606, 6762): a test may ask for them, and learns that there is no such host."""
_installed: list[str] = []


def is_here(host: str, local: frozenset[str] = frozenset()) -> bool:
    """Whether an address or a name is this machine itself."""
    host = host.rpartition("%")[0] or host
    host = host.lower().removeprefix("::ffff:")
    return (
        host in ("", "::", "::1", "0.0.0.0", "localhost", "<broadcast>")
        or host.startswith("127.")
        or host.endswith(".localhost")
        or host in local
    )


class Audit:
    """Judges addresses; knows what is allowed besides this machine."""

    def __init__(self, file: str, allowed: frozenset[str]) -> None:
        self._file = file
        self._allowed = allowed
        self._addresses: set[str] | None = None
        self._resolving = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """What `sys.addaudithook` calls; an OSError refuses."""
        if event in _SENDING:
            self._sending(event, arguments)
        elif event in _ASKING and not self._resolving:
            self._asking(event, arguments[0])

    def _sending(self, event: str, arguments: tuple[Any, ...]) -> None:
        connection, address = arguments[0], arguments[1]
        if not isinstance(address, tuple) or connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        # Connecting a datagram socket sends nothing: programs do it to learn their own address.
        if event == "socket.connect" and connection.type & 0xF == socket.SOCK_DGRAM:
            return
        host = _text(address[0])
        if not self._resolving and not self._may(host) and host not in self._resolved():
            self._note(event, f"{host}:{address[1]}")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"the tests connect to this machine alone, not to {host}")

    def _asking(self, event: str, asked: object) -> None:
        host = "" if asked is None else _text(asked)
        if self._may(host) or _is_address(host) or host.lower() in _known_names():
            return
        if not host.lower().endswith(_RESERVED):
            self._note(event, host)
        raise socket.gaierror(socket.EAI_NONAME, f"the tests look up no name of another machine: {host}")

    def _may(self, host: str) -> bool:
        return is_here(host) or host.lower() in self._allowed

    def _resolved(self) -> set[str]:
        """Addresses of this machine and of what is allowed, as they are when first needed."""
        if self._addresses is None:
            self._resolving = True
            try:
                self._addresses = own_addresses() | {a for name in self._allowed for a in addresses_of(name)}
            finally:
                self._resolving = False
        return self._addresses

    def _note(self, event: str, what: str) -> None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        command = " ".join(getattr(sys, "orig_argv", sys.argv))[:200]
        line = "\t".join((event, what, test, f"pid {os.getpid()}", command)).replace("\n", " ") + "\n"
        # One write of one line: processes share the file.
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode(errors="replace"))
        finally:
            os.close(handle)


def own_addresses() -> set[str]:
    """Addresses of this machine's interfaces, as Linux lists them; a lab may have added some."""
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as table:
            lines = table.read().split("\n")
    except OSError:
        return set()
    found, before = set(), ""
    for line in lines:
        if line.endswith("host LOCAL"):
            found.add(before.rpartition("-- ")[2])
        before = line
    return found


def addresses_of(name: str) -> set[str]:
    """Addresses of a host; none where it cannot be found."""
    try:
        return {_text(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def install(environment: Mapping[str, str] = os.environ) -> None:
    """Begin the audit, once a process, where the environment asks for it."""
    file = environment.get(FILE_VARIABLE)
    if file and not _installed and not getattr(sys, "_tunefare_audit", False):
        _installed.append(file)
        sys._tunefare_audit = True  # type: ignore[attr-defined]
        allowed = frozenset(name for name in environment.get(ALLOWED_VARIABLE, "").lower().split(",") if name)
        sys.addaudithook(Audit(file, allowed).hook)


def _is_address(host: str) -> bool:
    """Whether it is an address already, for which nobody is asked."""
    return host.replace(".", "").isdigit() or ":" in host


def _known_names() -> set[str]:
    names = {socket.gethostname().lower()}
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as hosts:
            for line in hosts:
                names.update(line.partition("#")[0].lower().split()[1:])
    except OSError:
        pass
    return names


def _text(host: Any) -> str:
    return host.decode(errors="replace") if isinstance(host, (bytes, bytearray)) else str(host)


def _hand_on() -> None:
    """Run the machine's own sitecustomize, which this one stands before."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if os.path.abspath(p or ".") != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


def _run_hook() -> None:
    import runpy

    file = os.environ.get(HOOK_VARIABLE)
    if file and not getattr(sys, "_tunefare_hook", False):
        sys._tunefare_hook = True  # type: ignore[attr-defined]
        runpy.run_path(file, run_name="tunefare_tests_hook")


install()
if __name__ == "sitecustomize":
    _run_hook()
    _hand_on()
