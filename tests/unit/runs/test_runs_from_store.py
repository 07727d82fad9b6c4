"""A machine that is gone before it handed anything over: its store has what it did, and home brings it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import EngineError
from manager.launch.engine import Launched, MachineState
from manager.launch.from_store import bring_from_store, store_uri
from manager.launch.sky_upload import UPLOAD_DIR
from manager.runs.charges import charge
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from manager.runs.states import RunState
from manager.runs.supervise import RunOrder, supervise
from manager.runs.updates import LogUpdate, Update
from tasks.job import Job, StoreChoice
from tasks.protocol import JOB_FILE
from tasks.stores.event_parts import put_part
from tasks.stores.folders import push_folder
from tasks.stores.opening import open_store
from tasks.stores.retry import Patience
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import PRICE, event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def stored(tmp_path: Path) -> RunOrder:
    """An order whose job has a store, in which five events, a checkpoint and half of a model lie."""
    run = order(tmp_path / "run")
    uri = f"file://{tmp_path}/store/{RUN}"
    upload = run.request.run_dir / UPLOAD_DIR
    upload.mkdir(parents=True)
    job: Job = replace(run.request.job, store=StoreChoice(uri=uri))
    (upload / JOB_FILE).write_text(job.to_json())
    store = open_store(uri)
    put_part(store, [event(seq) for seq in range(2)])
    put_part(store, [event(seq) for seq in range(2, 5)])
    for name, content in {"step-00000002": b"older", "step-00000004": b"newer"}.items():
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(content)
        push_folder(store, folder, f"checkpoints/{name}")
    store.put_bytes("model/model.safetensors", b"half of it")
    return run


def brought_notes(told: list[Update]) -> list[str]:
    return [update.text for update in told if isinstance(update, LogUpdate) and "brought home" in update.text]


def test_events_and_the_newest_checkpoint_come_from_the_store(ledger: Ledger, stored: RunOrder) -> None:
    told: list[Update] = []
    engine = PlayedEngine(fetch=EngineError("the machine is gone"))
    supervise(stored, engine, ledger, time.time, told.append, FAST)
    assert [one.seq for one in ledger.events(RUN)] == [0, 1, 2, 3, 4]
    run_dir = stored.request.run_dir
    assert (run_dir / "checkpoints/step-00000004/model.safetensors").read_bytes() == b"newer"
    assert not (run_dir / "model").exists()
    (note,) = brought_notes(told)
    assert "5 events and checkpoint step-00000004 from file://" in note


def test_a_whole_model_comes_instead(stored: RunOrder, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"whole")
    uri = store_uri(stored.request.run_dir)
    assert uri is not None
    push_folder(open_store(uri), folder, "model")
    seen: list[tuple[int, int]] = []
    brought = bring_from_store(stored.request.run_dir, on_progress=lambda done, of: seen.append((done, of)))
    assert brought is not None
    assert (brought.events, brought.model, brought.checkpoint) == (5, True, None)
    assert (stored.request.run_dir / "model/model.safetensors").read_bytes() == b"whole"
    assert seen[-1] == (5, 5)
    again = bring_from_store(stored.request.run_dir)
    assert again is not None
    assert again.words == ""


def test_a_run_without_a_store_brings_nothing(tmp_path: Path) -> None:
    run = order(tmp_path / "run")
    run.request.run_dir.mkdir(parents=True)
    (run.request.run_dir / JOB_FILE).write_text(run.request.job.to_json())
    assert bring_from_store(run.request.run_dir) is None


def test_damaged_parts_are_told_and_change_nothing(stored: RunOrder, tmp_path: Path) -> None:
    (part,) = (tmp_path / "store" / RUN / "events").glob("*2-*.jsonl")
    part.write_text(json.dumps({"not": "an event"}))
    quick = Patience(first_pause_s=0.01, total_s=0.2)
    with pytest.raises(EngineError, match="cannot be read"):
        bring_from_store(stored.request.run_dir, opened=lambda uri: open_store(uri, patience=quick))
    assert not (stored.request.run_dir / "events.jsonl").exists()


def test_a_client_that_is_gone_leaves_it_to_whoever_reconciles(ledger: Ledger, stored: RunOrder) -> None:
    engine = PlayedEngine(fetch=EngineError("the machine is gone"))
    launched = engine.submit(stored.request, engine.reserve(stored.request))
    ledger.create_run(RUN, stored.plan, stored.request.run_dir, engine.name, None, time.time())
    ledger.transition(RUN, RunState.LAUNCHING, time.time())
    ledger.store_launched(RUN, launched, time.time())
    ledger.transition(RUN, RunState.RUNNING, time.time())
    ledger.append_events(RUN, [event(0)])
    reconcile(ledger, {engine.name: engine}, time.time, lambda update: None, settings=FAST)
    assert [one.seq for one in ledger.events(RUN)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("answers_at_once", [True, False], ids=["store answers", "store answers when it is closed"])
def test_a_machine_that_outlived_its_client_is_billed_to_the_last_event_of_its_store(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers_at_once: bool
) -> None:
    start_s = time.time() - 4 * 3600
    run = order(tmp_path / "run")
    uri = f"file://{tmp_path}/store/{RUN}"
    upload = run.request.run_dir / UPLOAD_DIR
    upload.mkdir(parents=True)
    (upload / JOB_FILE).write_text(replace(run.request.job, store=StoreChoice(uri=uri)).to_json())
    told = [replace(event(0), time_s=start_s + 60), replace(event(1), time_s=start_s + 3 * 3600)]
    put_part(open_store(uri), told)
    engine = PlayedEngine(fetch=EngineError("the machine is gone"))
    engine.machine = MachineState.GONE
    launched = Launched(
        handle=engine.reserve(run.request),
        offer=run.request.offers[0],
        billing_started_at_s=start_s,
        failed_attempts=(),
    )
    ledger.create_run(RUN, run.plan, run.request.run_dir, engine.name, None, start_s)
    ledger.transition(RUN, RunState.LAUNCHING, start_s)
    ledger.store_launched(RUN, launched, start_s)
    ledger.transition(RUN, RunState.RUNNING, start_s + 30)
    ledger.append_events(RUN, told[:1])
    ledger.add_charge(RUN, charge(from_s=start_s, to_s=start_s + 300, price_usd_per_hour=PRICE, at_s=start_s + 300))
    if not answers_at_once:

        def silent(_run_dir: Path, *, with_files: bool) -> None:
            raise EngineError(f"the store does not answer (with_files={with_files})")

        monkeypatch.setattr("manager.runs.reconcile.bring_from_store", silent)
    (result,) = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert result.outcome is not None
    record = result.outcome.record
    assert record.billing_ended_at_s == start_s + 3 * 3600
    assert record.cost_usd == pytest.approx(3 * PRICE)
