"""The monitor at home: real tasks whose clients are dead, stopped or careless of their cap."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from manager.config import read_config
from manager.paths import HOME_VARIABLE
from manager.runs.client_health import SILENT_S, ClientHealth, health
from manager.runs.clients import LONGEST_SILENCE_S
from manager.runs.home_guard import EndTimes, HomeLimit
from manager.runs.states import FINAL, RunState
from manager.runs.updates import LogUpdate, Update
from manager.service import watching
from manager.service.context import Context
from manager.service.recovery import reconcile_runs
from manager.service.watch_loop import look_once, watch_status
from manager.service.watching import WatchAction, Watcher, unsupervised
from tests.support.contexts import make_context
from tests.support.kept_model import keep_model
from tests.unit.runs.client_stage import RUN, Home, check_complete

STEPS = 10_000
ADOPTER = (sys.executable, "-m", "tests.unit.service.fast_adopter")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(watching, "ADOPTER", ADOPTER)
    root = str(Path(__file__).parents[3])
    made = make_context(tmp_path, clock=time.time)
    config = read_config(made.home.config_file, {"TUNEFARE_HEARTBEAT_S": "1"})
    return replace(made, config=config, environment={"PYTHONPATH": root})


@pytest.fixture
def home(context: Context) -> Iterator[Home]:
    opened = Home(context.home.runs_dir, context.home.ledger_file)
    yield opened
    opened.close()
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, seen = process.info["cmdline"] or [], process.info["environ"] or {}
        if "tests.unit.service.fast_adopter" in words and seen.get(HOME_VARIABLE) == str(context.home.root):
            process.kill()


def wait_for_end(home: Home) -> RunState:
    home.wait(lambda: home.ledger.state(RUN) in FINAL)
    return home.ledger.state(RUN)


def test_nothing_to_watch_is_safe(context: Context) -> None:
    found = Watcher(context).look()
    assert (found.runs, found.is_safe) == ((), True)
    assert not context.home.ledger_file.exists()


def test_a_run_with_a_client_is_left_alone(context: Context, home: Home) -> None:
    client = home.start(steps=STEPS)
    home.wait_for_events(3)
    (run,) = Watcher(context).look().runs
    assert (run.action, run.state) == (WatchAction.WELL, RunState.RUNNING)
    assert str(client.pid) in run.detail
    assert client.poll() is None


def test_a_run_whose_client_was_killed_is_taken_over_and_goes_on(context: Context, home: Home) -> None:
    client = home.start(steps=200, step_s=0.05)
    home.wait_for_events(3)
    assert unsupervised(context) == ()
    home.kill(client)
    assert unsupervised(context) == (RUN,)
    watcher = Watcher(context)
    (run,) = watcher.look().runs
    assert run.action is WatchAction.ADOPTED, run.detail
    assert "its client is gone" in run.detail
    assert unsupervised(context) == ()
    (again,) = watcher.look().runs
    assert again.action is WatchAction.WELL
    assert wait_for_end(home) is RunState.SUCCEEDED
    check_complete(home, 202)


def test_a_client_that_was_stopped_is_ended_and_its_run_taken_over(
    context: Context, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.runs.client_health.STOPPED_HEARTBEATS", 1.2)
    client = home.start(steps=200, step_s=0.05)
    home.wait_for_events(3)
    client.send_signal(signal.SIGSTOP)
    (soon,) = Watcher(context).look().runs
    assert soon.action is WatchAction.WELL, "a short stop is none"
    time.sleep(1.6)
    (run,) = Watcher(context).look().runs
    assert run.action is WatchAction.ADOPTED, run.detail
    assert f"its client {client.pid} was stopped for" in run.detail
    assert client.wait(10) == -signal.SIGKILL
    assert wait_for_end(home) is RunState.SUCCEEDED
    check_complete(home, 202)


def test_a_task_that_ended_without_its_client_is_closed(context: Context, home: Home) -> None:
    client = home.start(steps=20, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    home.wait(lambda: home.processes() == 0)
    (run,) = Watcher(context).look().runs
    assert (run.action, run.state) == (WatchAction.ENDED, RunState.SUCCEEDED), run.detail
    check_complete(home, 22)


def test_the_bucket_of_a_run_that_ended_without_its_client_is_left(context: Context, home: Home) -> None:
    client = home.start(steps=20, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    home.wait(lambda: home.processes() == 0)
    store = keep_model(home.run_dir(), "home", bucket=home.folder.parent / "bucket")
    told: list[Update] = []
    reconcile_runs(context, None, end=False, on_update=told.append)
    assert home.ledger.state(RUN) is RunState.SUCCEEDED
    assert any("is removed" in one.text for one in told if isinstance(one, LogUpdate))
    assert store.list() == ()


def test_a_client_that_lets_its_cap_pass_is_made_to_end_the_run(
    context: Context, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.start(steps=STEPS)
    home.wait_for_events(3)
    passed = HomeLimit(
        down_at_s=time.time() - 60, is_cap=True, times=EndTimes(teardown_s=1.0, fetch_s=0.0, grace_s=1.0)
    )
    monkeypatch.setattr(watching, "limit_of", lambda _record, _settings: passed)
    (run,) = Watcher(context).look().runs
    assert "it is over its cap" in run.detail
    assert wait_for_end(home) is RunState.STOPPED
    assert "stop now requested: tunefare watch: it is over its cap" in {c.detail for c in home.ledger.run(RUN).history}
    assert home.processes() == 0


def test_what_cannot_be_ended_is_tried_again_later_each_time(
    context: Context, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = home.start(steps=STEPS)
    home.wait_for_events(3)
    home.kill(client)
    monkeypatch.setattr(watching, "ADOPTER", (sys.executable, "-c", "raise SystemExit(5)"))
    clock = {"ahead_s": 0.0}
    watcher = Watcher(replace(context, clock=lambda: time.time() + clock["ahead_s"]))
    first = watcher.look()
    assert first.runs[0].action is WatchAction.WAITING
    assert not first.is_safe
    assert "tried 1 times; again in" in watcher.look().runs[0].detail
    clock["ahead_s"] = 61.0
    assert "could not be brought to its end" in watcher.look().runs[0].detail
    clock["ahead_s"] = 130.0
    assert "tried 2 times" in watcher.look().runs[0].detail
    clock["ahead_s"] = 200.0
    assert "could not be brought to its end" in watcher.look().runs[0].detail


def test_no_process_can_be_started(context: Context, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.kill(home.start(steps=20))
    client = home.start(steps=STEPS)
    home.wait_for_events(3)
    home.kill(client)
    monkeypatch.setattr(watching, "ADOPTER", ("/nowhere/python",))
    (run,) = Watcher(context).look().runs
    assert run.action is WatchAction.FAILED
    assert "No such file" in run.detail


def test_a_look_is_kept_told_and_logged(context: Context, home: Home) -> None:
    client = home.start(steps=20, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    home.wait(lambda: home.processes() == 0)
    assert watch_status(context).looked_at_s is None
    told: list[str] = []
    look_once(context, told.append)
    assert [line.startswith(f"{RUN}: ended, succeeded") for line in told] == [True]
    status = watch_status(context)
    assert status.looked_at_s == pytest.approx(time.time(), abs=30)
    assert not status.is_running
    assert status.last is not None
    assert [run["run_id"] for run in status.last["runs"]] == [RUN]
    assert told[0] in context.home.watch_log_file.read_text()
    assert os.stat(context.home.watch_log_file).st_mode & 0o777 == 0o600
    assert json.loads(context.home.watch_file.read_text())["schema"] == 1


def test_a_client_killed_in_its_launch_leaves_nothing(context: Context, home: Home) -> None:
    client = home.start(steps=60, step_s=0.05)
    home.wait(lambda: len(home.ledger.run_ids(RunState)) > 0)
    home.kill(client)
    Watcher(context).look()
    wait_for_end(home)
    assert home.processes() == 0


def make_newer(home: Home, run_id: str) -> None:
    """As if a newer version had written the plan of the run."""
    db = sqlite3.connect(home.ledger_file)
    (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'runs_no_update'").fetchone()
    db.execute("DROP TRIGGER runs_no_update")
    (text,) = db.execute("SELECT plan_json FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    newer = json.dumps({**json.loads(text), "schema": 999})
    db.execute("UPDATE runs SET plan_json = ? WHERE run_id = ?", (newer, run_id))
    db.execute(trigger)
    db.commit()
    db.close()


def test_a_run_that_cannot_be_read_keeps_no_other_from_being_watched(context: Context, home: Home) -> None:
    newer = "newer-20260101-aaaa"
    clients = [home.start(newer, steps=STEPS), home.start(steps=200, step_s=0.05)]
    home.wait_for_events(3, newer)
    home.wait_for_events(3)
    for client in clients:
        home.kill(client)
    make_newer(home, newer)
    found = {run.run_id: run for run in Watcher(context).look().runs}
    assert found[newer].action is WatchAction.FAILED
    assert "it cannot be looked after: " in found[newer].detail
    assert found[RUN].action is WatchAction.ADOPTED
    assert wait_for_end(home) is RunState.SUCCEEDED


def test_a_client_that_may_not_be_ended_keeps_its_run(
    context: Context, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = home.start(steps=STEPS)
    home.wait_for_events(3)

    def denied(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "kill", denied)
    monkeypatch.setattr(watching, "health", lambda **_: ClientHealth.SILENT)
    found = Watcher(context).look()
    monkeypatch.undo()
    assert found.runs[0].action is WatchAction.FAILED
    assert f"could not be ended: end process {client.pid} of" in found.runs[0].detail
    assert client.poll() is None
    assert not found.is_safe


@pytest.mark.parametrize(
    ("alive", "stopped", "here", "state", "silence_s", "found"),
    [
        (False, False, True, RunState.RUNNING, 1.0, ClientHealth.GONE),
        (True, False, True, RunState.RUNNING, SILENT_S - 1, ClientHealth.WELL),
        (True, False, True, RunState.RUNNING, SILENT_S, ClientHealth.SILENT),
        (True, False, True, RunState.LAUNCHING, SILENT_S, ClientHealth.WELL),
        (True, False, True, RunState.TEARING_DOWN, LONGEST_SILENCE_S, ClientHealth.SILENT),
        (True, False, True, RunState.LAUNCHING, LONGEST_SILENCE_S, ClientHealth.WELL),
        (True, False, True, RunState.LAUNCHING, 7200.0 + SILENT_S, ClientHealth.SILENT),
        (True, True, True, RunState.RUNNING, 119.0, ClientHealth.WELL),
        (True, True, True, RunState.LAUNCHING, 120.0, ClientHealth.STOPPED),
        (True, True, False, RunState.RUNNING, 1e6, ClientHealth.WELL),
    ],
)
def test_health(alive: bool, stopped: bool, here: bool, state: RunState, silence_s: float, found: ClientHealth) -> None:
    told = health(
        is_alive=alive,
        is_stopped=stopped,
        is_here=here,
        state=state,
        silence_s=silence_s,
        heartbeat_s=30.0,
        launch_timeout_s=7200.0,
    )
    assert told is found
