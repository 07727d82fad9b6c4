"""Panic: real tasks with living, dead and hanging clients, bad providers, and ledgers that cannot be used."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from manager.errors import EngineError, ExitCode
from manager.launch.engine import Engine, Evidence, Handle
from manager.launch.inventory import Found
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from manager.service import panic_end
from manager.service.context import Context
from manager.service.leftovers import Askers
from manager.service.panic import OpenEngines, panic, panic_targets
from manager.service.panic_report import PanicReport, PanicUpdate, panic_to_json
from manager.service.panic_words import found_text
from tests.support.contexts import make_context
from tests.support.sky_stage import SilentAws
from tests.unit.runs.client_stage import RUN, Home
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order, plan
from tests.unit.runs.supervising_client import FAST, fast_engine

OTHER = "job-20260101-bbbb"
STEPS = 10_000


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


@pytest.fixture
def home(context: Context) -> Iterator[Home]:
    opened = Home(context.home.runs_dir, context.home.ledger_file)
    yield opened
    opened.close()


def opener(**known: Engine) -> OpenEngines:
    @contextmanager
    def open_engines() -> Iterator[Mapping[str, Engine]]:
        yield known

    return open_engines


def end_all(
    context: Context, open_engines: OpenEngines | None = None, *, limit_s: float = 30.0
) -> tuple[PanicReport, list[PanicUpdate]]:
    told: list[PanicUpdate] = []
    engines = open_engines or opener(local=fast_engine())
    found = panic_targets(context)
    nobody = Askers(aws=SilentAws(), clusters=Found)
    report = panic(
        context, found, on_update=told.append, limit_s=limit_s, open_engines=engines, settings=FAST, askers=nobody
    )
    return report, told


def test_runs_with_and_without_a_client_are_ended(context: Context, home: Home) -> None:
    living, dead = home.start(RUN, steps=STEPS, step_s=0.05), home.start(OTHER, steps=STEPS, step_s=0.05)
    home.wait_for_events(3, RUN)
    home.wait_for_events(3, OTHER)
    home.kill(dead)
    found = panic_targets(context)
    assert {target.run_id: target.has_client for target in found.targets} == {RUN: True, OTHER: False}
    assert found_text(found) == "2 runs may be billed: $7.20/h"
    report, told = end_all(context)
    assert {entry.run_id: (entry.state, entry.is_gone) for entry in report.entries} == {
        RUN: (RunState.STOPPED, True),
        OTHER: (RunState.STOPPED, True),
    }
    assert report.exit_code is ExitCode.DONE
    assert all(entry.evidence and entry.evidence.confirmed and not entry.commands for entry in report.entries)
    assert (home.processes(RUN), home.processes(OTHER)) == (0, 0)
    assert living.wait(timeout=30) == ExitCode.INTERRUPTED
    assert {update.run_id for update in told if update.text.startswith("GONE: ")} == {RUN, OTHER}
    assert panic_targets(context).targets == ()


def test_a_client_that_hangs_holds_up_no_other(context: Context, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panic_end, "CLIENT_LIMIT_S", 5.0)  # More than one that obeys needs on a busy machine.
    hanging, obeying = home.start(RUN, steps=STEPS, step_s=0.05), home.start(OTHER, steps=STEPS, step_s=0.05)
    home.wait_for_events(3, RUN)
    home.wait_for_events(3, OTHER)
    hanging.send_signal(signal.SIGSTOP)
    try:
        report, _ = end_all(context)
    finally:
        hanging.send_signal(signal.SIGCONT)
    entries = {entry.run_id: entry for entry in report.entries}
    assert entries[OTHER].is_gone
    assert obeying.wait(timeout=30) == ExitCode.INTERRUPTED
    assert not entries[RUN].is_gone
    assert "does not end it: still running" in entries[RUN].told
    assert entries[RUN].commands[:2] == (f"kill -9 {hanging.pid}", f"tunefare reconcile {RUN} --end")
    assert report.exit_code is ExitCode.TEARDOWN_UNCONFIRMED


def left_open(context: Context, engine: PlayedEngine, run_id: str = RUN) -> None:
    """A run whose end the provider does not confirm."""
    engine.confirm_after = 1_000
    with Ledger.open(context.home.ledger_file) as ledger:
        run = order(context.home.runs_dir / run_id, run_id=run_id)
        outcome = supervise(run, engine, ledger, time.time, lambda _: None, FAST)
    assert outcome.record.state is RunState.UNCONFIRMED


def test_what_the_provider_does_not_confirm_is_told_with_what_to_type(context: Context) -> None:
    engine = PlayedEngine()
    left_open(context, engine)
    report, _ = end_all(context, opener(played=engine))
    (entry,) = report.unconfirmed
    assert entry.told == "asked (played)"
    assert entry.commands[0] == f"tunefare reconcile {RUN} --end"
    assert report.exit_code is ExitCode.TEARDOWN_UNCONFIRMED
    (told,) = panic_to_json(report)["runs"]
    assert (told["gone"], told["state"], told["evidence"]["left"]) == (False, "unconfirmed", ["i-123"])


def test_an_engine_that_never_answers_is_given_up(context: Context) -> None:
    class Hanging(PlayedEngine):
        def down(self, handle: Handle) -> None:
            super().down(handle)
            if self.hangs:
                time.sleep(60)

        hangs = False

    engine = Hanging()
    left_open(context, engine)
    engine.hangs = True
    started_at = time.monotonic()
    report, _ = end_all(context, opener(played=engine), limit_s=1.0)
    assert time.monotonic() - started_at < 10
    (entry,) = report.unconfirmed
    assert entry.told.startswith("not ended within")


def test_a_defect_of_one_run_is_told_of_as_unconfirmed(context: Context) -> None:
    left_open(context, PlayedEngine())
    report, _ = end_all(context, opener())
    (entry,) = report.unconfirmed
    assert "engine played" in entry.told


def test_ctrl_c_leaves_the_rest_unconfirmed(context: Context) -> None:
    left_open(context, PlayedEngine())

    def interrupt(_update: PanicUpdate) -> None:
        raise KeyboardInterrupt

    found = panic_targets(context)
    report = panic(context, found, on_update=interrupt, open_engines=opener(played=PlayedEngine()), settings=FAST)
    assert [entry.run_id for entry in report.entries] == [RUN]


def test_a_run_that_never_began_is_no_target(context: Context) -> None:
    with Ledger.open(context.home.ledger_file) as ledger:
        ledger.create_run(RUN, plan(), context.home.runs_dir / RUN, "local", None, 1.0)
    assert panic_targets(context).targets == ()


def test_no_ledger_is_nothing_to_end(context: Context) -> None:
    found = panic_targets(context)
    assert (found.targets, found.ledger_error) == ((), None)
    assert not context.home.ledger_file.exists()


@pytest.mark.parametrize("trouble", ["damaged", "locked"])
def test_without_a_ledger_what_runs_here_is_found_by_its_folder(
    context: Context, home: Home, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    client = home.start(RUN, steps=STEPS, step_s=0.05)
    home.wait_for_events(3, RUN)
    home.kill(client)
    lock = _spoil(context, home, monkeypatch, trouble)
    try:
        report, _ = end_all(context)
    finally:
        if lock is not None:
            lock.close()
    (entry,) = report.entries
    assert (entry.run_id, entry.state, entry.is_gone) == (RUN, None, True)
    assert "the ledger does not know of it yet" in entry.told
    assert home.processes(RUN) == 0
    assert report.ledger_error is not None
    assert trouble in report.ledger_error.message
    assert report.exit_code is ExitCode.TASK_FAILED


def _spoil(context: Context, home: Home, monkeypatch: pytest.MonkeyPatch, trouble: str) -> sqlite3.Connection | None:
    file = context.home.ledger_file
    if trouble == "damaged":
        home.ledger.close()
        for part in file.parent.glob(f"{file.name}-*"):
            part.unlink()
        file.write_bytes(b"no ledger any more" * 500)
        return None
    monkeypatch.setattr(Ledger.open.__func__, "__kwdefaults__", {"busy_timeout_s": 0.1})  # type: ignore[attr-defined]
    lock = sqlite3.connect(file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    return lock


def test_a_launch_through_skypilot_is_asked_about_by_its_folder(context: Context) -> None:
    folder = context.home.runs_dir / RUN
    folder.mkdir()
    (folder / "sky-attempt.json").write_text('{"cloud": "aws", "region": "us-east-1", "provider": null}')
    context.home.ledger_file.write_bytes(b"no ledger" * 1000)

    class Silent(PlayedEngine):
        def evidence(self, handle: Handle) -> Evidence:
            self.calls.append(handle.name)
            raise EngineError("SkyPilot is not installed")

    engine = Silent()
    report, _ = end_all(context, opener(sky=engine))
    entry, providers = report.unconfirmed
    assert "no answer from aws us-east-1" in providers.told
    assert "SkyPilot is not installed" in entry.told
    assert engine.calls == [f"tf-{RUN}"]
    reconcile, down, terminate = entry.commands
    assert (reconcile, down) == (f"tunefare reconcile {RUN} --end", f"sky down tf-{RUN}")
    assert terminate.startswith("aws ec2 terminate-instances --region us-east-1 --instance-ids $(aws ec2 describe-")
    assert f"Name=tag:tunefare-run,Values={RUN} " in terminate
