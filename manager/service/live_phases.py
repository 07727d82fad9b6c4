"""What a run is doing, since when, and how long each part took so far; from its states and the events of its task.

Parts of the bill are those of a report (`manager.reports.timeline`), drawn together to what a person waits for.
Evaluations and checkpoints within training are taken out of it, so that training is optimizer steps only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from manager.planner.plan import CostLine
from manager.reports.timeline import PLAN_LINES
from manager.runs.records import StateChange
from manager.runs.states import FINAL, RunState
from manager.units import SECONDS_PER_HOUR
from tasks.protocol import EvaluationStage, Event, EventType, PhaseName

PROVISIONING, SETUP, DOWNLOAD, TRAINING = "provisioning", "set-up", "download", "training"
EVALUATION, SAVING, TEARDOWN, INTERRUPTION = "evaluation", "saving", "teardown", "interruption"
PARTS: dict[str, tuple[str, ...]] = {
    PROVISIONING: ("provisioning",),
    SETUP: ("setup", "probe"),
    DOWNLOAD: ("loading",),
    TRAINING: ("training",),
    EVALUATION: ("baseline", "evaluation", "final"),
    SAVING: ("checkpoints", "saving"),
    TEARDOWN: ("teardown",),
    INTERRUPTION: ("interruption",),
}
"""Phase of a run that is watched -> phases of its report."""
_ENDS = FINAL | {RunState.UNCONFIRMED}
_OF_EVENT: dict[str, str] = {
    PhaseName.LOADING_DATA: DOWNLOAD,
    PhaseName.LOADING_MODEL: DOWNLOAD,
    PhaseName.PROBE: SETUP,
    PhaseName.BASELINE: EVALUATION,
    PhaseName.TRAINING: TRAINING,
    PhaseName.FINAL_EVALUATION: EVALUATION,
    PhaseName.SAVING: SAVING,
}


class PhaseState(StrEnum):
    """Where a phase stands."""

    WAITING = "waiting"
    ACTIVE = "active"
    DONE = "done"
    SKIPPED = "skipped"
    """The run is over and never came to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePhase:
    """One part of a run."""

    name: str
    """A key of `PARTS`."""
    state: PhaseState
    started_at_s: float | None
    """Unix time of its first moment, this machine's clock; None: not yet, or only within training."""
    duration_s: float
    """So far; over all its times."""
    expected_s: float | None
    """As planned; None where the plan says nothing."""


class PhaseClock:
    """Follows the events of a task; keeps a mark per change, not per event."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, str]] = []
        self._within_s = {EVALUATION: 0.0, SAVING: 0.0}
        self._is_training = False
        self._last_s = 0.0

    def observe(self, event: Event) -> None:
        """One more event, in order."""
        data = event.data
        if event.type is EventType.STARTED and self._marks:
            # What came after the last sign of life was lost with the machine.
            self._mark(self._last_s, INTERRUPTION)
        if event.type is EventType.STARTED or not self._marks:
            self._mark(event.time_s, DOWNLOAD)
        elif event.type is EventType.PHASE:
            self._mark(event.time_s, _OF_EVENT.get(str(data["name"]), str(data["name"])))
        elif event.type in {EventType.FINISHED, EventType.FAILED}:
            self._mark(event.time_s, TEARDOWN)
        elif self._is_training and event.type is EventType.EVALUATION and data["stage"] == EvaluationStage.INTERVAL:
            self._within_s[EVALUATION] += float(data["duration_s"])
        elif self._is_training and event.type is EventType.CHECKPOINT:
            self._within_s[SAVING] += float(data["duration_s"])
        self._last_s = event.time_s

    def phases(
        self, history: Sequence[StateChange], *, shift_s: float, now_s: float, lines: Sequence[CostLine]
    ) -> tuple[LivePhase, ...]:
        """All phases in their usual order; an interruption only where there was one.

        Args:
            history: states of the run so far.
            shift_s: added to event times to bring them to this machine's clock.
            now_s: Unix time, this machine's clock.
            lines: of the plan's estimate.
        """
        end_s = history[-1].at_s if history[-1].state in _ENDS else None
        marks = self._all_marks(history, shift_s)
        until_s = max(now_s if end_s is None else end_s, marks[-1][0]) if marks else now_s
        spent_s = dict.fromkeys(PARTS, 0.0)
        begun: dict[str, float] = {}
        ends_s = [start_s for start_s, _ in marks[1:]] + [until_s]
        for (start_s, name), next_s in zip(marks, ends_s, strict=False):
            begun.setdefault(name, start_s)
            spent_s[name] = spent_s.get(name, 0.0) + max(0.0, next_s - start_s)
        for name, within_s in self._within_s.items():
            moved_s = min(within_s, spent_s[TRAINING])
            spent_s[TRAINING] -= moved_s
            spent_s[name] += moved_s
        active = marks[-1][1] if marks and end_s is None else None
        return tuple(
            LivePhase(
                name=name,
                state=_state(name, active, is_seen=name in begun or seconds > 0, is_over=end_s is not None),
                started_at_s=begun.get(name),
                duration_s=seconds,
                expected_s=_expected_s(name, lines),
            )
            for name, seconds in spent_s.items()
            if name != INTERRUPTION or name in begun
        )

    def _mark(self, at_s: float, name: str) -> None:
        self._is_training = name == TRAINING
        if not self._marks or self._marks[-1][1] != name:
            self._marks.append((at_s, name))

    def _all_marks(self, history: Sequence[StateChange], shift_s: float) -> list[tuple[float, str]]:
        of_task = [(at_s + shift_s, name) for at_s, name in self._marks]
        first_s = of_task[0][0] if of_task else None
        marks: list[tuple[float, str]] = []
        for change in history:
            if change.state is RunState.LAUNCHING:
                marks.append((change.at_s, PROVISIONING))
            elif change.state is RunState.RUNNING and (first_s is None or change.at_s <= first_s):
                marks.append((change.at_s, SETUP))
        marks += of_task
        ending = next((change.at_s for change in history if change.state is RunState.TEARING_DOWN), None)
        if ending is not None and (not marks or marks[-1][1] != TEARDOWN):
            marks.append((max(ending, marks[-1][0]) if marks else ending, TEARDOWN))
        return marks


def _state(name: str, active: str | None, *, is_seen: bool, is_over: bool) -> PhaseState:
    if name == active:
        return PhaseState.ACTIVE
    if is_seen:
        return PhaseState.DONE
    return PhaseState.SKIPPED if is_over else PhaseState.WAITING


def _expected_s(phase: str, lines: Sequence[CostLine]) -> float | None:
    names = {name for part in PARTS[phase] for name in PLAN_LINES[part]} if phase in PARTS else set()
    hours = [line.quantity.expected for line in lines if line.name in names and line.unit == "h"]
    return sum(hours) * SECONDS_PER_HOUR if hours else None
