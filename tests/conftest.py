"""What holds for all tests: connections stay on this machine, state in the test's folder, no terminal is inherited."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from pytest_socket import socket_allow_hosts

from tests.support import connections

_TOO_SLOW = hypothesis.HealthCheck.too_slow


def pytest_configure() -> None:
    """Who starts the tests may ignore hang-ups (nohup) and export the size of a terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # Machines that test are shared: how long an example takes says nothing.
    hypothesis.settings.register_profile("unhurried", deadline=None, suppress_health_check=[_TOO_SLOW])
    hypothesis.settings.load_profile("unhurried")
    connections.begin()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Connections that any process of the tests made or tried fail the session, however its tests ended."""
    connections.end(session)


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
    # Whoever starts the tests may have an account, which no test may ask.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
