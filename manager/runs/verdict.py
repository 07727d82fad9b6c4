"""How a run ended: from the task's own words first, then from why supervision ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from manager.errors import (
    ExitCode,
    InterruptedRunError,
    NothingFitsError,
    OverBudgetError,
    TaskFailedError,
    TunefareError,
)
from manager.launch.engine import MachineState
from manager.runs.records import RunRecord, StateChange, StopRequest
from manager.runs.states import RunState
from tasks.protocol import Event, EventType, Outcome


class EndReason(StrEnum):
    """Why supervision came to its end; the words open the detail of the state change, so that they are found again."""

    ENDED = "task ended"
    STOP_REQUESTED = "stop requested"
    STOP_NOW = "stop now requested"
    """Without a checkpoint."""
    INTERRUPTED = "interrupted"
    CAP = "cap reached"
    DURATION = "longest duration reached"
    NO_CAPACITY = "no capacity"
    ENGINE_FAILED = "engine failed"
    CLIENT_GONE = "client gone"
    REQUOTED = "quote exceeded"
    """By what the probe measured; the user's rule, or the user, said that it ends."""
    HUNG = "task hung"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Why, and what there is to add."""

    reason: EndReason
    message: str | None = None
    hint: str | None = None

    @property
    def detail(self) -> str:
        """For the state change."""
        return str(self.reason) if self.message is None else f"{self.reason}: {self.message}"

    @property
    def is_known_to_task(self) -> bool:
        """Whether a task that may be at work was told; one whose stream broke was not."""
        return self.reason is not EndReason.ENGINE_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the run ended, provided that nothing is left of it."""

    state: RunState
    error: TunefareError | None
    """What to tell the user; None when the task is through."""

    @property
    def exit_code(self) -> ExitCode:
        """Of the command."""
        return ExitCode.DONE if self.error is None else self.error.exit_code


_OVER_CAP = frozenset({EndReason.CAP, EndReason.DURATION})
_BROKEN = frozenset({EndReason.ENGINE_FAILED, EndReason.ERROR, EndReason.HUNG})
"""Ends after which a task that stops in good order was told to by the take-down, which is not why the run ended."""


def judge(end: End, events: Sequence[Event], machine: MachineState, *, run_id: str) -> Verdict:
    """The verdict on a run.

    Args:
        end: why supervision ended.
        events: all events of the run.
        machine: what the engine knew of the task before it was taken down.
        run_id: for the hint that leads to its log.
    """
    last = next((e for e in reversed(events) if e.type in {EventType.FINISHED, EventType.FAILED}), None)
    if last is not None and last.type is EventType.FAILED:
        error = TaskFailedError(str(last.data["message"]), hint=last.data.get("hint"))
        return Verdict(state=RunState.FAILED, error=error)
    if last is not None:
        outcome = Outcome(last.data["outcome"])
        if outcome is Outcome.CAP_REACHED:
            return _over_cap("the task reached its cap and stopped in good order")
        if outcome is not Outcome.STOPPED:
            return Verdict(state=RunState.SUCCEEDED, error=None)
    return _judge_reason(end, machine, run_id, stopped_itself=last is not None)


def end_on_request(request: StopRequest) -> End:
    """The end that somebody asked for."""
    return End(reason=EndReason.STOP_NOW if request.now else EndReason.STOP_REQUESTED, message=request.detail)


def end_from_history(history: Sequence[StateChange]) -> End:
    """Why a run was being ended when its client went; CLIENT_GONE when it was not being ended."""
    for change in reversed(history):
        if change.state in {RunState.STOPPING, RunState.TEARING_DOWN} and change.detail:
            words, _, message = change.detail.partition(": ")
            if words in set(EndReason):
                return End(reason=EndReason(words), message=message or None)
    return End(reason=EndReason.CLIENT_GONE)


def told_verdict(record: RunRecord, events: Sequence[Event]) -> Verdict:
    """The verdict on a run in a final state, from the ledger alone; its words are those that were written then."""
    verdict = judge(end_from_history(record.history), events, MachineState.UNKNOWN, run_id=record.run_id)
    why = record.history[-1].detail
    if record.state is RunState.SUCCEEDED:
        return Verdict(state=record.state, error=None)
    if verdict.error is None or verdict.state is not record.state:
        # What the engine knew of the machine is not in the ledger; the state that followed from it is.
        failed = record.state is RunState.FAILED
        error = TaskFailedError(why or "the task failed") if failed else InterruptedRunError(why or str(record.state))
        return Verdict(state=record.state, error=error)
    return Verdict(state=record.state, error=type(verdict.error)(why or verdict.error.message, hint=verdict.error.hint))


def _judge_reason(end: End, machine: MachineState, run_id: str, *, stopped_itself: bool) -> Verdict:
    if end.reason is EndReason.NO_CAPACITY:
        error = NothingFitsError(end.message or "no offer had capacity", hint=end.hint)
        return Verdict(state=RunState.NO_CAPACITY, error=error)
    if end.reason in _OVER_CAP:
        return _over_cap(end.message or str(end.reason))
    if end.reason is EndReason.REQUOTED:
        hint = "Plan with what was learnt (`tunefare plan`), or raise budget.requote_above or the cap."
        return Verdict(state=RunState.STOPPED, error=OverBudgetError(end.message or str(end.reason), hint=hint))
    if end.reason is EndReason.STOP_REQUESTED:
        return Verdict(state=RunState.STOPPED, error=InterruptedRunError("the run was stopped on request"))
    if end.reason is EndReason.STOP_NOW:
        return Verdict(state=RunState.STOPPED, error=InterruptedRunError("the run was ended at once, on request"))
    if end.reason is EndReason.INTERRUPTED:
        message = "interrupted; the run was ended" if end.message is None else f"{end.message}; the run was ended"
        return Verdict(state=RunState.INTERRUPTED, error=InterruptedRunError(message, hint=end.hint))
    if end.reason is EndReason.CLIENT_GONE and machine not in {MachineState.FAILED, MachineState.SETUP_FAILED}:
        return Verdict(state=RunState.INTERRUPTED, error=InterruptedRunError("the client was gone; the run was ended"))
    if stopped_itself and end.reason not in _BROKEN:
        return Verdict(state=RunState.STOPPED, error=InterruptedRunError("the task was told to stop from outside"))
    return Verdict(state=RunState.FAILED, error=_silent_failure(end, machine, run_id))


def _over_cap(message: str) -> Verdict:
    error = OverBudgetError(message, hint="Raise budget.max_usd, or choose fewer epochs or a smaller model.")
    return Verdict(state=RunState.STOPPED, error=error)


def _silent_failure(end: End, machine: MachineState, run_id: str) -> TunefareError:
    hint = end.hint or f"Read its log with `tunefare logs {run_id}`."
    if end.message is not None:
        return TaskFailedError(end.message, hint=hint)
    if machine is MachineState.SETUP_FAILED:
        return TaskFailedError("the machine could not be set up", hint=hint)
    return TaskFailedError(f"the task ended without a word (machine: {machine})", hint=hint)
