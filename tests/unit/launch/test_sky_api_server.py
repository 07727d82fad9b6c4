"""Which API server SkyPilot's workers ask, and what of the environment they do not see."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from manager.errors import ConfigError
from manager.launch import sky_worker
from manager.launch.sky_worker import ENDPOINT_VARIABLE, SkyWorker, worker_environment
from manager.service.context import open_context
from manager.service.settings import reread

_SHOWS_ENVIRONMENT = """
import json, os, sys
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "result": dict(os.environ)}), flush=True)
"""
SHARED = "http://sky.team:46580"


@pytest.fixture(autouse=True)
def _own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_worker, "_api_server", None)
    monkeypatch.delenv(ENDPOINT_VARIABLE, raising=False)


def seen() -> dict[str, str]:
    worker = SkyWorker(command=(sys.executable, "-c", _SHOWS_ENVIRONMENT))
    try:
        return worker.call("check", {}, timeout_s=30)
    finally:
        worker.close()


def test_the_setting_names_the_server_of_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFARE_API_SERVER", SHARED)
    open_context()
    assert seen()[ENDPOINT_VARIABLE] == SHARED


def test_without_it_skypilot_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    context = open_context()
    assert ENDPOINT_VARIABLE not in seen()
    context.home.ensure()
    context.home.config_file.write_text(f"api_server = {json.dumps(SHARED)}\n")
    reread(context)
    assert seen()[ENDPOINT_VARIABLE] == SHARED
    context.home.config_file.write_text("")
    reread(context)
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://own:1")
    assert seen()[ENDPOINT_VARIABLE] == "http://own:1"


def test_workers_do_not_see_the_ledgers_secrets() -> None:
    secrets = {"TUNEFARE_LEDGER_URL": "postgresql://ann:s@db/x", "PGPASSWORD": "s", "PGPASSFILE": "f"}
    assert worker_environment({**secrets, "HOME": "/h"}) == {"HOME": "/h"}


@pytest.mark.parametrize("text", ["sky.team:46580", "ssh://sky"])
def test_an_address_is_one_of_the_web(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNEFARE_API_SERVER", text)
    with pytest.raises(ConfigError, match="no address"):
        open_context()
