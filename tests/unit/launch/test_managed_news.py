"""What is told of the machines of a managed job: each that was lost, and the one that the run goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.launch.engine import MachineNews
from manager.launch.managed import RecoveringSkyEngine
from manager.launch.managed_record import read_managed
from tasks.protocol import Event, parse_event
from tasks.stores.event_parts import put_part
from tasks.stores.opening import open_store
from tests.support.sky_stage import Stage, event_line, log_line
from tests.unit.launch.managed_stage import FIRST, LOST, SECOND, answer, running

ENGINE = RecoveringSkyEngine


def test_a_replaced_machine_is_told_once_and_events_come_from_the_bucket(stage: Stage) -> None:
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("RECOVERING", LOST, cluster=None),
        answer("RECOVERING", LOST, cluster=None),
        answer("RUNNING", LOST, SECOND, recoveries=1),
        answer("SUCCEEDED", LOST, SECOND, recoveries=1),
        managed_tail=[{"lines": [log_line(0), "(tf-demo-1, pid=7) hello"], "result": {}}, {"result": {}}],
    )
    store = open_store(f"file://{stage.folder}/bucket/demo-1")
    put_part(store, [_event(0), _event(1), _event(2)])
    items = list(stage.engine.stream(handle, after_seq=-1))
    assert [item.seq for item in items if isinstance(item, Event)] == [0, 1, 2]
    assert "hello" in items
    news = [item.words for item in items if isinstance(item, MachineNews)]
    assert len(news) == 2
    assert news[0].startswith("preempted: g6.xlarge in aws us-east-1a, spot, $0.36/h is gone after 10")
    assert news[1].startswith("recovered (1 in all): goes on with g6.xlarge in aws us-west-2b, spot, $0.4")
    record = read_managed(Path(handle.run_dir))
    assert record is not None
    assert record.recoveries_told == 1


def test_what_happened_while_nobody_was_at_home_is_told_when_somebody_comes_back(stage: Stage) -> None:
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("SUCCEEDED", LOST, {**SECOND, "to_s": 2000.0}, recoveries=1, cluster=None),
        managed_tail=[{"result": {}}],
    )
    items = list(stage.engine.stream(handle, after_seq=-1))
    (news,) = [item.words for item in items if isinstance(item, MachineNews)]
    assert news.startswith("preempted: g6.xlarge in aws us-east-1a")
    assert "recovered (1 in all)" in news


def test_a_machine_lost_before_skypilot_saw_the_task_begin_is_told_like_any_other(stage: Stage) -> None:
    """SkyPilot replaces it without counting a recovery, and the job is told to be starting all the while."""
    handle = running(
        stage,
        answer("STARTING", FIRST),
        answer("STARTING", LOST, cluster=None),
        answer("STARTING", LOST, {**SECOND, "is_up": False}, cluster="INIT"),
        answer("STARTING", LOST, SECOND),
        answer("RUNNING", LOST, SECOND),
        answer("RUNNING", LOST, SECOND),
        answer("SUCCEEDED", LOST, SECOND),
        managed_tail=[{"result": {}}],
    )
    news = [item.words for item in stage.engine.stream(handle, after_seq=-1) if isinstance(item, MachineNews)]
    assert len(news) == 2
    assert news[0].startswith("lost before SkyPilot saw the task begin: g6.xlarge in aws us-east-1a, spot, $0.36/h is")
    assert news[1].startswith("recovered (1 in all): goes on with g6.xlarge in aws us-west-2b, spot, $0.4")


@pytest.mark.parametrize("status", ["CANCELLING", "CANCELLED", "FAILED_SETUP"])
def test_a_job_that_ends_before_its_task_began_goes_on_with_no_machine(stage: Stage, status: str) -> None:
    handle = running(
        stage,
        answer("STARTING", FIRST),
        answer("STARTING", LOST, SECOND),
        answer(status, LOST, SECOND),
        answer("CANCELLED", LOST, SECOND),
        managed_tail=[{"result": {}}],
    )
    news = [item.words for item in stage.engine.stream(handle, after_seq=-1) if isinstance(item, MachineNews)]
    assert not [words for words in news if "goes on with" in words]


def test_places_at_which_skypilot_only_looked_are_no_machines_lost(stage: Stage) -> None:
    elsewhere = {**FIRST, "from_s": 900.0, "to_s": 950.0, "is_up": False}
    handle = running(
        stage,
        answer("STARTING", elsewhere, FIRST),
        answer("RUNNING", elsewhere, FIRST),
        answer("SUCCEEDED", elsewhere, LOST, cluster=None),
        managed_tail=[{"result": {}}],
    )
    assert not [item for item in stage.engine.stream(handle, after_seq=-1) if isinstance(item, MachineNews)]


def _event(seq: int) -> Event:
    return parse_event(event_line(seq))
