"""A take-down that begins while something else is being asked, which does not hold it up, and one of another machine's
launch."""

import platform
import threading
from dataclasses import replace

import pytest

from manager.errors import EngineError
from manager.launch.engine import MachineState
from tests.support.sky_stage import NOBODY_ASKED, Stage


def test_a_fetch_that_hangs_does_not_hold_up_the_take_down(stage: Stage) -> None:
    stage.play(fetch=[{"hang": True}], down=[{"result": {"existed": True}}])
    handle = stage.handle()
    troubles: list[EngineError] = []
    states: list[MachineState] = []

    def fetch() -> None:
        try:
            stage.engine.fetch(handle)
        except EngineError as error:
            troubles.append(error)
        states.append(stage.engine.status(handle))

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    while not (stage.folder / "calls.jsonl").exists():
        fetching.join(0.05)
    stage.engine.down(handle)
    fetching.join(30)
    assert len(troubles) == 1, "the fetch was waited for"
    # The thread that was given up gets no worker of its own.
    assert states == [MachineState.UNKNOWN]
    assert not stage.calls("status")
    assert len(stage.calls("down")) == 1


def test_a_worker_that_is_idle_goes_on_with_the_take_down(stage: Stage) -> None:
    stage.play(status=[{"result": {"cluster": "UP", "job": "RUNNING"}}], down=[{"result": {"existed": True}}])
    handle = stage.handle()
    stage.engine.status(handle)
    before = stage.engine._worker(handle)._process
    stage.engine.down(handle)
    assert stage.engine._worker(handle)._process is before


def test_a_launch_of_another_machine_is_not_taken_for_none(stage: Stage) -> None:
    stage.play(evidence=[{"result": NOBODY_ASKED}])
    here = stage.handle()
    assert here.details["reserved_on"] == platform.node()
    assert stage.engine.evidence(here).confirmed, "nothing was asked for here"
    found = stage.engine.evidence(replace(here, details={**here.details, "reserved_on": "anns-laptop"}))
    assert not found.confirmed
    assert found.answer == (
        "SkyPilot has no cluster tf-demo-1; the provider could not be asked: the launch was asked for on anns-laptop "
        "and nothing of it is known here; `tunefare reconcile` there can ask"
    )


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.launch.sky_worker._LET_GO_S", 0.2)
