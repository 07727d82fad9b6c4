"""A take-down that begins while something else is being asked: it does not wait, and is not disturbed afterwards."""

import threading

import pytest

from manager.errors import EngineError
from manager.launch.engine import MachineState
from tests.support.sky_stage import Stage


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


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.launch.sky_worker._LET_GO_S", 0.2)
