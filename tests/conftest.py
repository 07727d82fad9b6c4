"""What holds for all tests: sockets stay on loopback, no state leaves the test's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: Path = tmp_path_factory.mktemp("tunefare-home")
    monkeypatch.setenv("TUNEFARE_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
