"""The audit of connections over a whole test session: what any process tried, this one, its children, and daemons.

Owns the two nets: a hook in each Python process (`audited/sitecustomize.py`), which refuses and notes, and for other
programs (ssh, rsync, curl, git, uv) a look at the kernel's table of TCP connections several times a second, which
notes. A connection that lives shorter than that, or a datagram, of a program that is not Python is not seen.
"""

from __future__ import annotations

import configparser
import importlib
import os
import pwd
import re
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.audited.sitecustomize import (
    ALLOWED_VARIABLE,
    FILE_VARIABLE,
    addresses_of,
    install,
    is_here,
    own_addresses,
)

AUDITED = Path(__file__).with_name("audited")
"""Folder that stands first on PYTHONPATH."""
ROOT = Path(__file__).parents[2]
LOOK_S = 0.25
_URL_VARIABLES = re.compile(r"^(PIP|UV)_.*(INDEX|FIND_LINKS|URL|MIRROR)|^(HTTPS?|ALL)_PROXY$", re.IGNORECASE)
_TRYING = {"01": "connected", "02": "connecting"}
_LAB_USERS = ("tunefare-lab",)
"""All of their processes belong to a lab."""
_MOST_TOLD = 50
_owner = [0]
"""Process that began the session's audit."""


def python_path(*folders: Path) -> str:
    """PYTHONPATH of a child process: the audit, then the folders; the repository's root where none is given."""
    return os.pathsep.join(str(folder) for folder in (AUDITED, *(folders or (ROOT,))))


def audited(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that carry the audit into a process whose environment is made anew."""
    return {name: environment[name] for name in (FILE_VARIABLE, ALLOWED_VARIABLE) if name in environment}


def begin() -> None:
    """Begin the session's audit; in a process that another session started, take part in that one's."""
    if FILE_VARIABLE not in os.environ:
        handle, name = tempfile.mkstemp(prefix="tunefare-connections-")
        os.close(handle)
        # Jobs of a lab's own user note their attempts too.
        os.chmod(name, 0o666)
        os.environ[FILE_VARIABLE] = name
        os.environ[ALLOWED_VARIABLE] = ",".join(sorted(registry_hosts(os.environ)))
        _owner[0] = os.getpid()
    before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(AUDITED)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(AUDITED), *before])
    install()


def end(session: pytest.Session) -> None:
    """Fail the session where something tried to connect elsewhere."""
    if _owner[0] != os.getpid():
        return
    _owner[0] = 0
    file = Path(os.environ.pop(FILE_VARIABLE))
    attempts = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    if not attempts:
        return
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    lines = [f"{len(attempts)} connections left this machine, or tried to:", *sorted(set(attempts))[:_MOST_TOLD]]
    if reporter is not None:
        reporter.ensure_newline()
        for line in lines:
            reporter.write_line(line, red=True)


def registry_hosts(environment: Mapping[str, str]) -> set[str]:
    """Hosts from which packages come: what the environment and pip's configuration name, else pip's own default."""
    texts = [value for name, value in environment.items() if _URL_VARIABLES.search(name)]
    texts += list(_configured())
    hosts = {host for text in texts for host in _hosts(text)}
    if not any("index" in name.lower() for name in environment if name.startswith(("PIP_", "UV_"))):
        hosts |= set(_pip_default())
    return hosts


def _hosts(text: str) -> Iterator[str]:
    for word in text.replace(",", " ").split():
        with suppress(ValueError):
            if "://" in word and (host := urlsplit(word).hostname):
                yield host.lower()


def _configured() -> Iterator[str]:
    """Values of the configuration files of pip and uv."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    ini = [Path("/etc/pip.conf"), Path.home() / ".pip" / "pip.conf", settings / "pip" / "pip.conf"]
    ini += [Path(sys.prefix) / "pip.conf", Path(os.environ.get("PIP_CONFIG_FILE") or os.devnull)]
    for file in ini:
        parser = configparser.RawConfigParser(strict=False)
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(file)
            for section in parser.sections():
                yield from (value for _, value in parser.items(section))
    for file in (Path("/etc/uv/uv.toml"), settings / "uv" / "uv.toml"):
        with suppress(OSError, UnicodeDecodeError):
            yield file.read_text(encoding="utf-8").replace('"', " ")


def _pip_default() -> Iterator[str]:
    """Where pip looks when nobody tells it, in its own words."""
    with suppress(ImportError, AttributeError):
        index = importlib.import_module("pip._internal.models.index").PyPI
        yield from _hosts(f"{index.url} https://{index.file_storage_domain}")


class Watch:
    """Looks at the kernel's table of TCP connections until it is stopped; notes those of the session's processes."""

    def __init__(self, file: Path, allowed: Iterable[str], *, tables: Iterable[Path] | None = None) -> None:
        self._file = file
        self._allowed = {address for name in allowed for address in (name, *addresses_of(name))}
        self._tables = tuple(tables or (Path("/proc/net/tcp"), Path("/proc/net/tcp6")))
        self._judged: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Judge each connection that was not there before."""
        for state, address, port, inode in self._elsewhere():
            # One that is not of this session stays so; an inode of 0 has no process any more.
            if inode in self._judged or inode == "0":
                continue
            self._judged.add(inode)
            if is_here(address, frozenset(own_addresses())):
                continue
            for pid in _holders(inode):
                if self._is_ours(pid):
                    self._note(f"{state}\t{address}:{port}\tpid {pid}\t{_command(pid)}")

    def _elsewhere(self) -> Iterator[tuple[str, str, int, str]]:
        for table in self._tables:
            with suppress(OSError):
                for line in table.read_text(encoding="ascii").splitlines()[1:]:
                    words = line.split()
                    address, port = _decoded(words[2])
                    if words[3] in _TRYING and not is_here(address) and address not in self._allowed:
                        yield _TRYING[words[3]], address, port, words[9]

    def _is_ours(self, pid: int) -> bool:
        mark = f"{FILE_VARIABLE}={self._file}".encode()
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return True
            return Path(f"/proc/{pid}").stat().st_uid in _lab_uids()
        return False

    def _note(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line.replace("\n", " ") + "\n")


def watch() -> Watch:
    """Watch for the session that `begin` began."""
    allowed = os.environ.get(ALLOWED_VARIABLE, "")
    return Watch(Path(os.environ[FILE_VARIABLE]), [name for name in allowed.split(",") if name])


def _lab_uids() -> set[int]:
    found = set()
    for name in _LAB_USERS:
        with suppress(KeyError):
            found.add(pwd.getpwnam(name).pw_uid)
    return found


def _decoded(text: str) -> tuple[str, int]:
    """Address and port of a line of the table, whose addresses are words in the machine's (little) order of bytes."""
    import ipaddress

    packed, port = text.split(":")
    raw = b"".join(bytes.fromhex(packed[i : i + 8])[::-1] for i in range(0, len(packed), 8))
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address), int(port, 16)


def _holders(inode: str) -> Iterator[int]:
    wanted = f"socket:[{inode}]"
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if any(os.readlink(handle) == wanted for handle in (folder / "fd").iterdir()):
                    yield int(folder.name)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    return "?"
