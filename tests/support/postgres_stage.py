"""A PostgreSQL of Debian for tests: a server of its own in a scratch folder, on loopback, as another user than root.

The servers of one test process are one; each test has a database of its own in it. Where there is no PostgreSQL and
none can be installed, the tests that need it are skipped, and say so.
"""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from manager.runs.ledger import Ledger
from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.packages import install_packages

USER = "ledger"
PASSWORD = "se-cret"
_BINARIES = "/usr/lib/postgresql/*/bin"
_START_S = 60.0


class PostgresServer:
    """A server process in a folder; `stop`, `start`, `freeze` and `thaw` play a server that fails."""

    def __init__(self, binaries: Path, folder: Path, port: int, owner: pwd.struct_passwd | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._user_id = None if owner is None else owner.pw_uid
        self._group_id = None if owner is None else owner.pw_gid
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def create(self) -> None:
        """Make the cluster: one superuser with a password, nobody from outside loopback."""
        password_file = self._folder / "password"
        password_file.write_text(PASSWORD)
        self.own(password_file)
        command = [self._program("initdb"), "-D", str(self._data), "-U", USER, f"--pwfile={password_file}"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*command, *options],
            check=True,
            capture_output=True,
            timeout=_START_S,
            user=self._user_id,
            group=self._group_id,
            cwd=self._folder,
        )
        settings = (
            f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
            "full_page_writes = off\nmax_connections = 60\nshared_buffers = 32MB\nlog_min_messages = panic\n"
        )
        file = self._data / "postgresql.conf"
        file.write_text(file.read_text() + settings)

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", str(self._data)],
                stdout=log,
                stderr=log,
                user=self._user_id,
                group=self._group_id,
                cwd=self._folder,
            )
        deadline = time.monotonic() + _START_S
        ready = [self._program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False, timeout=_START_S).returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise LabError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Cut all connections and end at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_START_S)
            self._process = None

    def freeze(self) -> None:
        """Every process of the server stops where it is; connections stay and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def url(self, database: str) -> str:
        """With the password in it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """URL of an empty database."""
        import psycopg  # the driver is an extra

        name = f"ledger_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def remove(self) -> None:
        """End it and remove the folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        import psutil  # as above

        assert self._process is not None
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children()):
            process.send_signal(number)

    def own(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if self._user_id is not None and self._group_id is not None:
            os.chown(path, self._user_id, self._group_id)

    def _program(self, name: str) -> str:
        return str(self._binaries / name)


def new_server() -> PostgresServer:
    """A server that runs; the caller removes it.

    Raises:
        LabError: there is no PostgreSQL, and it cannot be installed.
    """
    binaries = _find() or _install()
    is_root = os.geteuid() == 0
    owner = pwd.getpwnam("postgres" if _has_user("postgres") else "nobody") if is_root else None
    folder = Path(tempfile.mkdtemp(prefix="tunefare-pg-"))
    server = PostgresServer(binaries, folder, _free_port(), owner)
    server.own(folder)
    try:
        server.create()
        server.start()
    except BaseException:
        server.remove()
        raise
    return server


def postgres_server() -> PostgresServer:
    """The server that all tests of this process share; skips the test where there can be none."""
    pytest.importorskip("psycopg", reason="needs the [postgres] extra")
    found = _shared()
    if isinstance(found, str):
        pytest.skip(f"no PostgreSQL here: {found}")
    return found


def new_url() -> str:
    """An empty database for one test."""
    return postgres_server().new_database()


@cache
def _shared() -> PostgresServer | str:
    try:
        server = new_server()
    except (LabError, OSError, subprocess.SubprocessError) as error:
        return str(error)
    atexit.register(server.remove)
    return server


def _install() -> Path:
    install_packages({"no-program-of-postgresql": "postgresql"}, what="installing PostgreSQL")
    found = _find()
    if found is None:
        raise LabError("the package postgresql brought no programs")
    return found


def _find() -> Path | None:
    found = sorted(Path("/").glob(_BINARIES.lstrip("/")), key=lambda path: path.parts[-2])
    return next((path for path in reversed(found) if (path / "initdb").exists()), None)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


KEEPERS = ("file", pytest.param("server", marks=pytest.mark.postgres))
"""What keeps a ledger: parameters of a fixture, for tests of what holds for both."""


def ledger_opener(keeper: str, file: Path) -> Callable[[], Ledger]:
    """Opens one new ledger, again and again: in a file, or in a database of its own on the server."""
    if keeper == "file":
        return lambda: Ledger.open(file)
    url = new_url()
    return lambda: Ledger.connect(url)


def place_of(ledger: Ledger) -> str:
    """What another process opens it by: a path, or a URL with its password."""
    return str(getattr(ledger.store, "url", ledger.place))
