"""A cap inside the first epoch, and what a run that goes on after it may say of its weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks.evaluate
import tasks.loop
import tasks.run
from tasks.evaluate import Evaluation
from tasks.guard import Guard
from tasks.job import GuardChoice, Job
from tasks.protocol import EvaluationStage, Event, EventType, Outcome

Run = Callable[[Job, Path], tuple[int, list[Event]]]
Change = Callable[..., Job]
pytestmark = pytest.mark.torch


@pytest.fixture
def bill(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Billed seconds: a step takes 100, an evaluation on test takes 300."""
    passed = [0.0]
    step, evaluate = tasks.loop._optimizer_step, tasks.evaluate.evaluate

    def slow_step(*arguments: Any) -> Any:
        passed[0] += 100.0
        return step(*arguments)

    def slow_evaluate(session: Any, stage: EvaluationStage) -> Evaluation | None:
        found = evaluate(session, stage)
        if found is None:
            return None
        passed[0] += 300.0
        return replace(found, duration_s=300.0)

    start = time.time()
    monkeypatch.setattr(tasks.loop, "_optimizer_step", slow_step)
    monkeypatch.setattr(tasks.run, "evaluate", slow_evaluate)
    monkeypatch.setattr("tasks.train.Guard", lambda choice: Guard(choice, clock=lambda: start + passed[0]))
    return passed


def capped(job: Job, limit_s: float) -> Job:
    return replace(job, guard=GuardChoice(max_duration_s=limit_s))


def evaluations(events: list[Event], stage: EvaluationStage) -> list[Event]:
    return [event for event in events if event.type is EventType.EVALUATION and event.data["stage"] == stage]


def test_a_cap_in_the_first_epoch_leaves_time_for_the_final_evaluation(
    job: Job, run_train: Run, tmp_path: Path, bill: list[float]
) -> None:
    _, events = run_train(capped(job, 1050.0), tmp_path / "out")
    # 300 s for the baseline, then four steps: a fifth would leave less than 1.2 baselines before the cap.
    assert (events[-1].data["outcome"], events[-1].data["steps"]) == (Outcome.CAP_REACHED, 4)
    assert len(evaluations(events, EvaluationStage.FINAL)) == 1
    assert bill[0] <= 1050.0


def test_the_reserve_is_kept_by_a_start_that_finds_the_baseline_done(
    job: Job, run_train: Run, tmp_path: Path, bill: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reserves: list[float] = []
    train = tasks.loop.train

    def seen(session: Any) -> Outcome:
        reserves.append(session.guard.reserve_s)
        return train(session)

    monkeypatch.setattr(tasks.run, "train", seen)
    run_train(capped(job, 310.0), tmp_path / "out")
    run_train(capped(job, 2000.0), tmp_path / "out")
    assert reserves[0] == pytest.approx(360.0)
    assert reserves[1] > 0.0


def test_a_final_evaluation_of_earlier_weights_is_not_that_of_the_exported_ones(
    job: Job, run_train: Run, tmp_path: Path, bill: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, events = run_train(capped(job, 1050.0), tmp_path / "out")
    card = tmp_path / "out" / "model" / "README.md"
    assert "| accuracy |" in card.read_text(encoding="utf-8")
    evaluate = tasks.evaluate.evaluate

    def without_final(session: Any, stage: EvaluationStage) -> Evaluation | None:
        return None if stage is EvaluationStage.FINAL else evaluate(session, stage)

    monkeypatch.setattr(tasks.run, "evaluate", without_final)
    _, events = run_train(job, tmp_path / "out")
    assert events[-1].data["best"]["step"] > 4
    assert [event.data["step"] for event in evaluations(events, EvaluationStage.FINAL)] == [4]
    assert "Not evaluated" in card.read_text(encoding="utf-8")
