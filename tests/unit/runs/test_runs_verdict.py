"""How a run ended, from the task's words and from why supervision ended."""

from __future__ import annotations

import pytest

from manager.errors import ExitCode
from manager.launch.engine import MachineState
from manager.runs.records import StateChange
from manager.runs.states import FINAL, RunState
from manager.runs.verdict import End, EndReason, end_from_history, judge
from tasks.protocol import Event, EventType, Outcome
from tests.unit.runs.samples import event

DONE = (RunState.SUCCEEDED, ExitCode.DONE)
CAPPED = (RunState.STOPPED, ExitCode.OVER_BUDGET)
STOPPED = (RunState.STOPPED, ExitCode.INTERRUPTED)
INTERRUPTED = (RunState.INTERRUPTED, ExitCode.INTERRUPTED)
FAILED = (RunState.FAILED, ExitCode.TASK_FAILED)


def finished(outcome: Outcome) -> list[Event]:
    return [event(0), event(1, EventType.FINISHED, outcome=str(outcome))]


@pytest.mark.parametrize(
    ("reason", "outcome", "expected"),
    [
        (EndReason.ENDED, Outcome.COMPLETED, DONE),
        (EndReason.ENDED, Outcome.EARLY_STOPPED, DONE),
        (EndReason.ENDED, Outcome.TARGET_REACHED, DONE),
        (EndReason.ENDED, Outcome.CAP_REACHED, CAPPED),
        (EndReason.ENDED, Outcome.STOPPED, STOPPED),
        (EndReason.CAP, Outcome.STOPPED, CAPPED),
        (EndReason.DURATION, Outcome.STOPPED, CAPPED),
        (EndReason.STOP_REQUESTED, Outcome.STOPPED, STOPPED),
        (EndReason.INTERRUPTED, Outcome.STOPPED, INTERRUPTED),
        (EndReason.INTERRUPTED, Outcome.COMPLETED, DONE),
        (EndReason.ERROR, Outcome.STOPPED, FAILED),
        (EndReason.ENGINE_FAILED, Outcome.STOPPED, FAILED),
        (EndReason.ENGINE_FAILED, Outcome.COMPLETED, DONE),
        (EndReason.CLIENT_GONE, Outcome.STOPPED, INTERRUPTED),
        (EndReason.CLIENT_GONE, Outcome.COMPLETED, DONE),
    ],
)
def test_a_task_that_told_its_outcome(reason: EndReason, outcome: Outcome, expected: tuple[RunState, ExitCode]) -> None:
    verdict = judge(End(reason=reason), finished(outcome), MachineState.SUCCEEDED, run_id="r")
    assert (verdict.state, verdict.exit_code) == expected


@pytest.mark.parametrize(
    ("reason", "machine", "expected"),
    [
        (EndReason.ENDED, MachineState.FAILED, FAILED),
        (EndReason.ENDED, MachineState.SETUP_FAILED, FAILED),
        (EndReason.ENGINE_FAILED, MachineState.UNKNOWN, FAILED),
        (EndReason.ERROR, MachineState.UNKNOWN, FAILED),
        (EndReason.CLIENT_GONE, MachineState.FAILED, FAILED),
        (EndReason.CLIENT_GONE, MachineState.GONE, INTERRUPTED),
        (EndReason.INTERRUPTED, MachineState.FAILED, INTERRUPTED),
        (EndReason.STOP_REQUESTED, MachineState.GONE, STOPPED),
        (EndReason.CAP, MachineState.FAILED, CAPPED),
        (EndReason.NO_CAPACITY, MachineState.GONE, (RunState.NO_CAPACITY, ExitCode.NOTHING_FITS)),
    ],
)
def test_a_task_that_told_nothing(
    reason: EndReason, machine: MachineState, expected: tuple[RunState, ExitCode]
) -> None:
    verdict = judge(End(reason=reason), [event(0)], machine, run_id="r")
    assert (verdict.state, verdict.exit_code) == expected


def test_the_last_word_counts() -> None:
    failed = event(2, EventType.FAILED, code="disk_full", message="no space", hint=None)
    verdict = judge(End(reason=EndReason.ENDED), [*finished(Outcome.STOPPED), failed], MachineState.FAILED, run_id="r")
    assert verdict.state is RunState.FAILED
    assert verdict.error is not None
    assert verdict.error.message == "no space"


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_reason_has_a_final_state_and_is_found_again(reason: EndReason) -> None:
    end = End(reason=reason, message="it: was so")
    assert judge(end, [], MachineState.UNKNOWN, run_id="r").state in FINAL
    history = [
        StateChange(state=RunState.RUNNING, at_s=1.0, detail="local/-/-/cpu/on-demand"),
        StateChange(state=RunState.TEARING_DOWN, at_s=2.0, detail=end.detail),
        StateChange(state=RunState.UNCONFIRMED, at_s=3.0, detail="no answer"),
    ]
    assert end_from_history(history) == end
    assert end_from_history(history[:1]) == End(reason=EndReason.CLIENT_GONE)
