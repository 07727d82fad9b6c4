"""The audit of connections sees what it must, refuses it, fails the session, and lets loopback and registries pass."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audited.sitecustomize import ALLOWED_VARIABLE, FILE_VARIABLE, is_here
from tests.support.connections import ROOT, Watch, python_path, registry_hosts

ELSEWHERE = "203.0.113.7"
"""An address of documentation (RFC 5737), which nobody has."""


def tried(folder: Path, code: str, *, allowed: str = "") -> tuple[str, list[str]]:
    """What a child process said, and what the audit noted of it."""
    file = folder / "attempts"
    file.touch()
    environment = {**os.environ, "PYTHONPATH": python_path(), FILE_VARIABLE: str(file), ALLOWED_VARIABLE: allowed}
    program = f"import socket\ntry:\n    {code}\n    print('went')\nexcept OSError as e:\n    print(type(e).__name__)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), file.read_text().splitlines()


@pytest.mark.parametrize(
    ("code", "said", "what"),
    [
        (f"socket.create_connection(('{ELSEWHERE}', 443), 5)", "ConnectionRefusedError", f"{ELSEWHERE}:443"),
        (
            f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{ELSEWHERE}', 53))",
            "ConnectionRefusedError",
            f"{ELSEWHERE}:53",
        ),
        ("socket.getaddrinfo('hub.tunefare-nowhere.net', 443)", "gaierror", "hub.tunefare-nowhere.net"),
        (
            "import urllib.request; urllib.request.urlopen('http://hub.tunefare-nowhere.net/x', timeout=5)",
            "URLError",
            "hub.tunefare-nowhere.net",
        ),
    ],
)
def test_what_leaves_the_machine_is_refused_and_noted(tmp_path: Path, code: str, said: str, what: str) -> None:
    told, noted = tried(tmp_path, code)
    assert told == said
    assert len(noted) == 1
    assert noted[0].split("\t")[1] == what
    assert "test_what_leaves_the_machine" in noted[0]


def test_children_of_children_are_audited(tmp_path: Path) -> None:
    inner = f"import socket; socket.create_connection((\\'{ELSEWHERE}\\', 80), 5)"
    told, noted = tried(
        tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, '-P', '-c', '{inner}'], stderr=-3)"
    )
    assert told == "went"
    assert len(noted) == 1


@pytest.mark.parametrize(
    "code",
    [
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 5)",
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(('localhost', s.getsockname()[1]), 5)",
        f"socket.socket(type=socket.SOCK_DGRAM).connect(('{ELSEWHERE}', 9))",
        "socket.getaddrinfo(socket.gethostname(), 80)",
    ],
)
def test_this_machine_may_be_reached(tmp_path: Path, code: str) -> None:
    assert tried(tmp_path, code) == ("went", [])


def test_a_name_that_nobody_has_may_be_asked_for(tmp_path: Path) -> None:
    assert tried(tmp_path, "socket.getaddrinfo('hub.invalid', 443)") == ("gaierror", [])


def test_a_registry_is_let_through_to_the_network(tmp_path: Path) -> None:
    # Whether it answers is the network's affair: here it is an address that nobody has.
    code = f"s = socket.socket(); s.settimeout(0.05); print(s.connect_ex(('{ELSEWHERE}', 443)) != 111)"
    told, noted = tried(tmp_path, code, allowed=ELSEWHERE)
    assert told.split() == ["True", "went"]
    assert noted == []


@pytest.mark.parametrize("child", [f"socket.create_connection(('{ELSEWHERE}', 443), 5)", "pass"])
def test_an_attempt_fails_the_session_though_all_tests_pass(tmp_path: Path, child: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.support import connections\n"
        "def pytest_configure():\n    connections.begin()\n"
        "def pytest_sessionfinish(session):\n    connections.end(session)\n"
    )
    (tmp_path / "test_child.py").write_text(
        "import subprocess, sys\n"
        "def test_child():\n"
        f'    subprocess.run([sys.executable, "-c", "import socket; {child}"], stderr=subprocess.DEVNULL)\n'
    )
    environment = {name: value for name, value in os.environ.items() if name not in (FILE_VARIABLE, ALLOWED_VARIABLE)}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    done = subprocess.run([*command, "."], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (0 if child == "pass" else 1)
    assert ("1 connections left this machine, or tried to" in done.stdout) == (child != "pass")
    assert (f"{ELSEWHERE}:443" in done.stdout) == (child != "pass")


@pytest.fixture
def inode() -> Iterator[str]:
    """Inode of a socket of this process."""
    with socket.socket() as own:
        yield str(os.fstat(own.fileno()).st_ino)


def table(file: Path, address: str, inode: str, state: str) -> Path:
    """A line as the kernel's table has it."""
    whole = ipaddress.ip_address(address).packed
    packed = "".join(whole[i : i + 4][::-1].hex() for i in range(0, len(whole), 4)).upper()
    line = (
        f"   0: 0100007F:8AE2 {packed}:01BB {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0"
    )
    file.write_text(f"  sl  local_address rem_address   st\n{line}\n")
    return file


@pytest.mark.parametrize(
    ("address", "state", "is_noted"),
    [
        (ELSEWHERE, "02", True),
        (ELSEWHERE, "01", True),
        (ELSEWHERE, "06", False),
        ("127.0.0.9", "01", False),
        (f"::ffff:{ELSEWHERE}", "01", True),
        ("::ffff:127.0.0.14", "01", False),
        ("::1", "01", False),
    ],
)
def test_connections_of_other_programs_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inode: str, address: str, state: str, is_noted: bool
) -> None:
    file = tmp_path / "attempts"
    file.touch()
    watch = Watch(file, [], tables=[table(tmp_path / "tcp", address, inode, state)])
    monkeypatch.setattr(watch, "_is_ours", lambda pid: pid == os.getpid())
    watch.look()
    watch.look()
    told = address.removeprefix("::ffff:")
    assert [told in line for line in file.read_text().splitlines()] == [True] * is_noted


def test_processes_of_others_are_not_the_sessions(tmp_path: Path, inode: str) -> None:
    file = tmp_path / "attempts"
    file.touch()
    Watch(file, [], tables=[table(tmp_path / "tcp", ELSEWHERE, inode, "01")]).look()
    assert file.read_text() == ""


def test_registries_are_those_of_the_environment() -> None:
    environment = {
        "PIP_INDEX_URL": "https://user:password@pypi.mirror.example/simple",
        "UV_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
        "PIP_FIND_LINKS": "/some/folder",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HF_ENDPOINT": "https://hub.example",
    }
    found = registry_hosts(environment)
    assert {"pypi.mirror.example", "one.example", "two.example", "proxy.example"} <= found
    assert "hub.example" not in found


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "bucket.localhost", "::ffff:127.0.0.1"])
def test_loopback_is_here(host: str) -> None:
    assert is_here(host)


@pytest.mark.parametrize("host", [ELSEWHERE, "169.254.169.254", "localhost.evil.net", "10.0.0.1", "::ffff:8.8.8.8"])
def test_everything_else_is_not(host: str) -> None:
    assert not is_here(host)
