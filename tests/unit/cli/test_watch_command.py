"""`tunefare watch` as a process: one a state folder, ended by a signal, with a status for others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manager.cli.main import app
from manager.service.watch_loop import LOG_BYTES, look_once, watch_status
from tests.support.contexts import make_context

ROOT = Path(__file__).parents[3]


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TUNEFARE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "manager.cli", "watch", *options], env=environment, stderr=subprocess.PIPE, text=True
    )


def test_one_watcher_at_a_time_until_a_signal(tmp_path: Path) -> None:
    context = make_context(tmp_path, clock=time.time)
    first = start(context.home.root, "--every", "5")
    try:
        deadline = time.monotonic() + 60
        while watch_status(context).looked_at_s is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        status = watch_status(context)
        assert (status.is_running, status.pid, status.every_s) == (True, first.pid, 5.0)
        assert not status.is_late(time.time(), is_installed=False)
        assert status.is_late(time.time() + 16, is_installed=False)
        second = start(context.home.root)
        assert "another watcher looks after" in second.communicate(timeout=60)[1]
        assert second.returncode == 1
        first.send_signal(signal.SIGTERM)
        assert "watching" in first.communicate(timeout=30)[1]
        assert first.returncode == 0
    finally:
        first.kill()
    assert not watch_status(context).is_running
    assert "the watcher was ended" in context.home.watch_log_file.read_text()


def test_once_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["watch", "--once"], standalone_mode=False)
    assert done.return_value == 0
    assert "no run may be billed" in done.stderr
    told = json.loads(CliRunner().invoke(app, ["watch", "--once", "--json"], standalone_mode=False).stdout)
    assert (told["schema"], told["safe"], told["runs"]) == (1, True, [])


def test_status_says_what_was_seen_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    never = CliRunner().invoke(app, ["watch", "--status"], standalone_mode=False)
    assert "no watcher is at work" in never.stdout
    assert "it has never looked" in never.stdout
    CliRunner().invoke(app, ["watch", "--once"], standalone_mode=False)
    assert "looked last" in CliRunner().invoke(app, ["watch", "--status"], standalone_mode=False).stdout
    told = json.loads(CliRunner().invoke(app, ["watch", "--status", "--json"], standalone_mode=False).stdout)
    assert (told["is_running"], told["error"], told["every_s"]) == (False, None, None)
    assert (told["late"], told["safe"], told["providers"]["left"]) == (False, True, [])


@pytest.mark.parametrize(
    "options", [["--once", "--status"], ["--install", "--uninstall"], ["--json"], ["--timer"], ["--every", "1"]]
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["watch", *options], standalone_mode=False)
    assert done.exit_code != 0
    assert not (tmp_path / "home").exists()


def test_a_log_that_has_grown_is_put_aside(tmp_path: Path) -> None:
    context = make_context(tmp_path, clock=time.time)
    log = context.home.watch_log_file
    log.write_text("x" * LOG_BYTES)
    context.home.ledger_file.write_text("no ledger, on purpose")
    with pytest.raises(Exception, match="damaged"):
        look_once(context, lambda _: None)
    context.home.ledger_file.unlink()
    process = start(context.home.root, "--every", "5")
    deadline = time.monotonic() + 60
    while not Path(f"{log}.1").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert log.stat().st_size < 1000
