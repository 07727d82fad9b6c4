"""The training loop: steps, evaluations, checkpoints, and every reason to stop; reads top to bottom."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from tasks.accumulate import accumulate
from tasks.batching import Indices, epoch_batches
from tasks.device import peak_memory_bytes, utilization_percent
from tasks.evaluate import Evaluation, evaluate
from tasks.failures import TaskError
from tasks.heartbeat import HEART
from tasks.kinds import is_better, reaches
from tasks.protocol import EvaluationStage, EventType, FailureCode, Outcome
from tasks.schedule import learning_rate_factor
from tasks.session import Session
from tasks.sharding import whole
from tasks.step import update


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one optimizer step gave."""

    loss: float
    """Mean over the samples of the global batch (over its tokens that are learnt, for language models), in nats."""
    grad_norm: float | None
    """L2, before clipping; None where fp16 overflowed and the step was passed over."""
    learning_rate: float
    samples: int
    tokens: int


def train(session: Session) -> Outcome:
    """Train from where `session.progress` is until there is a reason to stop; the last state is checkpointed.

    Raises:
        TaskError: not_a_number.
        OSError, RuntimeError: disk full, out of memory; as they come.
    """
    progress, training = session.progress, session.job.training
    log = _StepLog(session)
    epoch, batches = -1, list[Indices]()
    step_s = 0.0
    while True:
        _evaluate_and_checkpoint(session)
        if progress.ended is not None:
            return Outcome(progress.ended)
        reason = session.asked_to_end(next_s=step_s)
        if reason is not None:
            if progress.step > 0:
                session.save_checkpoint()
            return reason
        if progress.step // session.steps_per_epoch != epoch:
            epoch = progress.step // session.steps_per_epoch
            batches = epoch_batches(session.task.train.lengths, training.batch_size, seed=training.seed, epoch=epoch)
        started_s = time.perf_counter()
        step = _optimizer_step(session, batches[progress.step % session.steps_per_epoch])
        step_s = time.perf_counter() - started_s
        HEART.progress(step=progress.step + 1)
        progress.step += 1
        progress.samples += step.samples
        progress.tokens += step.tokens
        progress.training_s += step_s
        log.add(step, step_s)


def _optimizer_step(session: Session, batch: Indices) -> Step:
    """Forward and backward over the micro-batches of one global batch, clip, update."""
    accelerator, training, split = session.accelerator, session.job.training, session.task.train
    rate = training.learning_rate * learning_rate_factor(
        session.progress.step,
        total_steps=session.total_steps,
        warmup_ratio=training.warmup_ratio,
        schedule=training.schedule,
    )
    for group in session.optimizer.param_groups:
        group["lr"] = rate
    session.tuned.unfreeze(session.stage)
    session.tuned.set_training()
    total = accumulate(session, batch)
    loss = float(accelerator.reduce(total, reduction="sum").item()) / session.task.weight(split, batch)
    norm = whole(update(session.optimizer, max_grad_norm=training.max_grad_norm, scaler=session.scaler))
    # The scaler has passed over gradients that overflowed, and lowered the scale.
    grad_norm = _unless_overflowed(float(norm.item()), session)
    _check_finite(loss, grad_norm, session.progress.step + 1)
    return Step(
        loss=loss,
        grad_norm=grad_norm,
        learning_rate=rate,
        samples=len(batch),
        tokens=int(split.lengths[batch].sum()),
    )


def _unless_overflowed(grad_norm: float, session: Session) -> float | None:
    return None if session.scaler is not None and not math.isfinite(grad_norm) else grad_norm


def _check_finite(loss: float, grad_norm: float | None, step: int) -> None:
    for what, value in (("loss", loss), ("gradient norm", grad_norm)):
        if value is not None and not math.isfinite(value):
            raise TaskError(
                FailureCode.NOT_A_NUMBER,
                f"The {what} is {value} at step {step}.",
                hint="Lower training.learning_rate or raise training.warmup_ratio; with bf16, try bf16-mixed or fp32. "
                "Checkpoints from before this step are kept.",
            )


def _evaluate_and_checkpoint(session: Session) -> None:
    """Evaluate when it is due, decide about the best weights and the end, checkpoint when due or better than before.

    Stands before each step, so that a resume catches up on an evaluation that a signal or a cap cut short.
    """
    progress, training = session.progress, session.job.training
    if progress.step == 0:
        return
    is_last = progress.step == session.total_steps
    due_every = training.eval_every_steps or session.steps_per_epoch
    is_evaluated = is_best = False
    if (is_last or progress.step % due_every == 0) and progress.evaluated_step < progress.step:
        evaluation = evaluate(session, EvaluationStage.INTERVAL)
        if evaluation is None:
            return
        is_evaluated, is_best = True, _judge(session, evaluation)
        progress.evaluated_step = progress.step
        if is_last and progress.ended is None:
            progress.ended = Outcome.COMPLETED
    every = training.checkpoint_every_steps
    is_due = is_evaluated if every is None else progress.step % every == 0
    if is_due or is_best or progress.ended is not None:
        session.save_checkpoint()


def _judge(session: Session, evaluation: Evaluation) -> bool:
    """Whether this is the best evaluation so far; counts for early stopping and looks at the target."""
    progress, training, target = session.progress, session.job.training, session.job.target
    value = evaluation.scores.metrics[training.metric]
    best = None if progress.best is None else float(progress.best["value"])
    is_best = value is not None and (best is None or is_better(training.metric, value, best))
    margin = training.early_stopping_min_delta
    is_clear = value is not None and (best is None or is_better(training.metric, value, best, by=margin))
    progress.without_improvement = 0 if is_clear else progress.without_improvement + 1
    if is_best:
        progress.best = {"metric": training.metric, "value": value, "step": progress.step}
    patience = training.early_stopping_patience
    if patience is not None and progress.without_improvement >= patience:
        progress.ended = Outcome.EARLY_STOPPED
    reached = None if target is None else evaluation.scores.metrics[target.metric]
    if target is not None and reached is not None and reaches(target.metric, reached, target.value):
        progress.ended = Outcome.TARGET_REACHED
    return is_best


class _StepLog:
    """Says every n-th step, with speeds over the steps since the last time; silent on steps an earlier start said."""

    def __init__(self, session: Session) -> None:
        self._session = session
        past = session.events.find(EventType.TRAIN)
        self._said = max((int(event.data["step"]) for event in past), default=0)
        # Time that was spent on steps lost with the machine counts too: elapsed_s never goes back.
        spent_s = max((float(event.data["elapsed_s"]) for event in past), default=0.0)
        session.progress.training_s = max(session.progress.training_s, spent_s)
        self._tokens, self._steps, self._seconds = 0, 0, 0.0

    def add(self, step: Step, step_s: float) -> None:
        session, progress = self._session, self._session.progress
        self._tokens += step.tokens
        self._steps += 1
        self._seconds += step_s
        is_due = progress.step % session.job.training.log_every_steps == 0
        if not (is_due or progress.step in (1, session.total_steps)):
            return
        if progress.step > self._said:
            session.events.emit(EventType.TRAIN, **self._data(step))
            warning = session.guard.projection((session.total_steps - progress.step) * self._seconds / self._steps)
            if warning is not None:
                session.events.warn("cap_projected", warning)
        self._tokens, self._steps, self._seconds = 0, 0, 0.0

    def _data(self, step: Step) -> dict[str, Any]:
        session, progress = self._session, self._session.progress
        return {
            "step": progress.step,
            "epoch": progress.step / session.steps_per_epoch,
            "loss": step.loss,
            "learning_rate": step.learning_rate,
            "grad_norm": step.grad_norm,
            "samples": progress.samples,
            "tokens": progress.tokens,
            "tokens_per_s": self._tokens / self._seconds,
            "step_s": self._seconds / self._steps,
            "elapsed_s": progress.training_s,
            "peak_memory_bytes": peak_memory_bytes(session.accelerator.device),
            "utilization_percent": utilization_percent(session.accelerator.device),
        }
