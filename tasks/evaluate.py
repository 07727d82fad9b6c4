"""One evaluation: all samples of a split through the bare model, scored, said as an event."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]

from tasks.batching import evaluation_batches
from tasks.heartbeat import HEART
from tasks.metrics import Scores
from tasks.protocol import EvaluationStage, EventType
from tasks.session import Session
from tasks.task import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores and how long they took."""

    scores: Scores
    duration_s: float


def evaluate(session: Session, stage: EvaluationStage) -> Evaluation | None:
    """Evaluate on the split of this stage and emit the event, unless an earlier start already did.

    Returns:
        None when a signal or a cap arrived in between; nothing is emitted then.

    Raises:
        TaskError: not_a_number.
    """
    name = "validation" if stage is EvaluationStage.INTERVAL else "test"
    split = session.task.validation if name == "validation" else session.task.test
    started_s = time.perf_counter()
    rows = _rows(session, split, is_final=stage is EvaluationStage.FINAL)
    if rows is None:
        return None
    with HEART.inside_a_library():
        scores = session.task.score(rows, split)
    duration_s = time.perf_counter() - started_s
    step = session.exported_step if stage is EvaluationStage.FINAL else session.progress.step
    if not session.events.find(EventType.EVALUATION, stage=str(stage), step=step):
        session.events.emit(
            EventType.EVALUATION,
            stage=str(stage),
            split=name,
            step=step,
            loss=scores.loss,
            metrics=scores.metrics,
            per_class=scores.per_class,
            confusion_matrix=None if stage is EvaluationStage.INTERVAL else scores.confusion_matrix,
            samples=len(split),
            duration_s=duration_s,
        )
    return Evaluation(scores=scores, duration_s=duration_s)


def _rows(session: Session, split: Split, *, is_final: bool) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """What the task scores of each sample, in the order of the split, on all processes; None when interrupted."""
    accelerator = session.accelerator
    # Nothing is kept for backward, so twice the micro-batch needs less memory than a training step.
    batches = evaluation_batches(split.lengths, 2 * session.micro_batch)
    rounds = math.ceil(len(batches) / accelerator.num_processes)
    session.share_buffers()
    model = session.tuned.model.eval()
    found: list[tuple[list[int], list[list[float]]]] = []
    # What is gathered in inference mode could not be trained with afterwards.
    with torch.no_grad() if session.is_sharded else torch.inference_mode():
        for at in range(rounds):
            if _is_interrupted(session, is_final=is_final):
                session.after_forward_only()
                return None
            own = at * accelerator.num_processes + accelerator.process_index
            # Processes with divided weights go through each layer together: one without a batch left repeats the last.
            if own < len(batches) or session.is_sharded:
                batch = batches[min(own, len(batches) - 1)]
                inputs = {key: value.to(accelerator.device) for key, value in session.task.inputs(split, batch).items()}
                targets = session.task.targets(split, batch).to(accelerator.device)
                made = session.task.rows(model, inputs, targets)
                HEART.progress()
                if own < len(batches):
                    found.append((batch.tolist(), made.double().cpu().tolist()))
    session.after_forward_only()
    if accelerator.num_processes > 1:
        found = gather_object(found)
    order = np.concatenate([np.array(indices) for indices, _ in found])
    values = np.concatenate([np.array(rows, dtype=np.float64) for _, rows in found])
    return values[np.argsort(order)]


def _is_interrupted(session: Session, *, is_final: bool) -> bool:
    if is_final:
        # The final evaluation is what the reserve was kept for; only a spent cap or a signal ends it.
        return bool(session.agree(int(session.stop.requested or session.guard.is_spent())))
    return session.asked_to_end() is not None
