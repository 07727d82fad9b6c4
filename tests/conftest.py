"""What holds for all tests: sockets stay on loopback, state in the test's own folder, no terminal is inherited."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts


def pytest_configure() -> None:
    """Who starts the tests may ignore hang-ups (nohup) and export the size of a terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """What a test runs in this process may be the main function of a process that ignores hang-ups."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.mktemp("tunefare-home")
    monkeypatch.setenv("TUNEFARE_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
