"""The end of a managed job: what is ordered until nothing of it is there, and what counts as a proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from manager.errors import EngineError
from manager.launch.engine import Handle
from manager.launch.inventory import Found
from manager.launch.managed import RecoveringSkyEngine
from manager.launch.managed_record import MANAGED_FILE
from tests.support.sky_stage import SilentAws, Stage, offer
from tests.unit.launch.managed_stage import (
    CAN,
    CANCELLED,
    FIRST,
    GONE,
    LOST,
    NO_JOB,
    NOTHING,
    answer,
    job,
    launch,
    running,
    spot,
)

ENGINE = RecoveringSkyEngine


def test_down_waits_until_the_controller_has_taken_the_machine_away(stage: Stage) -> None:
    gone = {**FIRST, "to_s": 1500.0}
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("CANCELLING", FIRST),
        answer("CANCELLED", FIRST),
        answer("CANCELLED", gone, cluster=None),
        managed_cancel=[{"result": CANCELLED}, {"result": NO_JOB}],
    )
    stage.engine.down(handle)
    assert len(stage.calls("managed_job")) == 4
    assert isinstance(stage.engine, RecoveringSkyEngine)
    times = stage.engine.machines(handle)
    assert times is not None
    assert [(one.from_s, one.to_s) for one in times.machines] == [(1010.0, 1500.0)]


def test_evidence_needs_job_machine_and_provider_to_be_silent(stage: Stage) -> None:
    nothing = {**NOTHING, "job": job("CANCELLED"), "provider": "aws", "instances": {}}
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        managed_left=[
            {"result": {**nothing, "job": job("RECOVERING")}},
            {"result": {**nothing, "instances": {"i-1": "running"}}},
        ],
    )
    assert "managed job 7 (RECOVERING)" in stage.engine.evidence(handle).left
    assert "i-1 (running)" in stage.engine.evidence(handle).left


def test_evidence_is_confirmed_where_all_say_that_nothing_is_left(stage: Stage) -> None:
    elsewhere = {**FIRST, "cloud": "gcp"}
    request = spot(stage, offer("g2", "0.36", cloud="gcp", region="us-east1", use_spot=True))
    nothing = {**NOTHING, "job": job("SUCCEEDED"), "provider": "gcp", "instances": {}}
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("RUNNING", elsewhere)],
        managed_left=[{"result": nothing}, {"result": {**nothing, "instances": None}}],
    )
    handle = launch(stage, request)
    assert stage.engine.evidence(handle).confirmed
    assert not stage.engine.evidence(handle).confirmed


def broken_off(stage: Stage, monkeypatch: pytest.MonkeyPatch, **moves: list[dict[str, Any]]) -> Handle:
    """A run whose job is still being submitted when its client has gone."""
    stage.play(managed_mode=[{"result": CAN}], managed_launch=[{"die": True}], **moves)
    handle = stage.engine.reserve(spot(stage))
    with monkeypatch.context() as killed:
        killed.setattr(stage.engine, "_ends", lambda handle, reason: False)
        with pytest.raises(EngineError):
            stage.engine.submit(spot(stage), handle)
    return handle


def test_a_job_that_is_still_being_submitted_is_cancelled_and_looked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = broken_off(
        stage,
        monkeypatch,
        # The launch had made its job when it was cancelled.
        managed_job=[{"result": GONE}, answer("CANCELLED", cluster=None)],
        managed_cancel=[{"result": {**NO_JOB, "cancelled_requests": ["abc"]}}, {"result": CANCELLED}],
    )
    stage.engine.down(handle)
    assert len(stage.calls("managed_cancel")) == 2


def test_nothing_is_confirmed_while_a_job_is_being_submitted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    class EmptyAws(SilentAws):
        def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
            return Found()

    monkeypatch.setattr(stage.engine, "_aws", EmptyAws())
    handle = broken_off(
        stage, monkeypatch, managed_left=[{"result": {**NOTHING, "launches": ["abc"]}}, {"result": NOTHING}]
    )
    found = stage.engine.evidence(handle)
    assert not found.confirmed
    assert found.left == ("launch request abc",)
    assert "1 launch requests are unfinished" in found.answer
    assert stage.engine.evidence(handle).confirmed


def test_what_another_machine_launched_is_not_confirmed_from_here(stage: Stage) -> None:
    stage.play(managed_left=[{"result": NOTHING}])
    details = {"run_id": "demo-1", "managed": True, "reserved_on": "anns-laptop"}
    found = stage.engine.evidence(
        Handle(engine="sky", run_dir=str(stage.folder / "not-here"), name="tf-demo-1", details=details)
    )
    assert not found.confirmed
    assert "the launch was asked for on anns-laptop" in found.answer


def test_a_job_whose_folder_is_lost_is_ended_by_its_name(stage: Stage) -> None:
    stage.play(managed_job=[answer("CANCELLED", LOST, cluster=None)], managed_cancel=[{"result": CANCELLED}])
    folder = stage.folder / "runs"
    folder.mkdir()
    details = {"run_id": "", "managed": True}
    stage.engine.down(Handle(engine="sky", run_dir=str(folder), name="tf-lost-1", details=details))
    assert stage.calls("managed_cancel") == [["managed_cancel", {"name": "tf-lost-1"}]]
    assert not (folder / MANAGED_FILE).exists()
    assert not stage.calls("down")
