"""The measurement before training: longest batch, one evaluation batch, a few timed steps, one save.

It runs the loop's own gradients and the optimizer's own update, at a learning rate of 0 and with gradients set to zero
before the update, so that weights stay as they are; buffers, random generators, the scaler and the optimizer's (empty)
state are put back. On one device the run that follows is the same bit for bit as without it.

Out of memory here halves the micro-batch and measures again. Of several processes each runs the longest batch for
itself, without an exchange, so that one that runs out of memory leaves none waiting; weights that are divided cannot
be tried like that, and fail as they would in training.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tasks import checkpoint
from tasks.accumulate import accumulate
from tasks.batching import evaluation_batches
from tasks.device import peak_memory_bytes
from tasks.job import ProbeChoice
from tasks.lowering import free_memory, is_out_of_memory, nothing_smaller, say_lowered
from tasks.probe_batches import evaluations_ahead, longest_batch, mean_share, saves_ahead, typical_batches
from tasks.probe_restore import Untouched
from tasks.protocol import EventType, PhaseName
from tasks.session import Session
from tasks.step import update
from tasks.together import from_first, on_first

_FOLDER = ".probe"
"""In the run's folder, for the checkpoint that is written to see how long it takes."""


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was measured so far; None: not yet, or no time was left for it."""

    longest_batch_step_s: float | None = None
    evaluation_batch_s: float | None = None
    step_s: float | None = None
    save_s: float | None = None
    attempts: list[int] = field(default_factory=list)


def probe(session: Session) -> None:
    """Measure, lower the micro-batch where memory asks for it, and say the `probe` event; nothing on a resume.

    Raises:
        TaskError: out_of_memory, where not even one sample fits.
        OSError: the checkpoint that is tried cannot be written.
    """
    choice = session.job.probe
    if choice is None or not from_first(session.accelerator, _is_due(session)):
        return
    session.events.emit(EventType.PHASE, name=str(PhaseName.PROBE))
    untouched = Untouched.of(session)
    try:
        found = _measure(session, choice, ends_s=time.perf_counter() + choice.longest_s)
        peak_bytes = peak_memory_bytes(session.accelerator.device)
    finally:
        untouched.put_back(session)
    if found.attempts:
        say_lowered(session.events, found.attempts, session.micro_batch)
    if found.step_s is None or found.longest_batch_step_s is None:
        return
    session.events.emit(
        EventType.PROBE,
        micro_batch=session.micro_batch,
        accumulation=-(-session.job.training.batch_size // (session.micro_batch * session.accelerator.num_processes)),
        longest_batch_step_s=found.longest_batch_step_s,
        step_s=found.step_s,
        evaluation_batch_s=found.evaluation_batch_s,
        save_s=found.save_s,
        peak_memory_bytes=peak_bytes,
        remaining_s=_remaining_s(session, found),
        attempts=found.attempts,
    )


def _is_due(session: Session) -> bool:
    """Whether no earlier start has measured or trained; asked of the first process, which has the folder."""
    is_new = not session.events.find(EventType.PROBE) and not session.events.find(EventType.TRAIN)
    return is_new and not checkpoint.newest_first(session.checkpoints)


def _measure(session: Session, choice: ProbeChoice, *, ends_s: float) -> _Found:
    found = _Found()

    def is_over() -> bool:
        return bool(session.agree(int(session.stop.requested or time.perf_counter() >= ends_s)))

    while not _heaviest(session, found, is_over):
        found.attempts.append(session.micro_batch)
        if session.micro_batch == 1:
            raise nothing_smaller(found.attempts)
        session.micro_batch_limit = session.micro_batch // 2
        session.optimizer.zero_grad(set_to_none=True)
        free_memory()
    if is_over() and found.longest_batch_step_s is None:
        return found
    found.step_s = _typical_step_s(session, choice.steps, is_over)
    if not is_over():
        found.save_s = _save_s(session)
    return found


def _heaviest(session: Session, found: _Found, is_over: Callable[[], bool]) -> bool:
    """Run what needs most memory; False when it ran out of it, on any process."""
    batch = longest_batch(session)

    # Two micro-batches and an update bring gradients and optimizer state into being: the next step has all at once.
    def begin() -> None:
        _still_step(session, lambda: accumulate(session, batch, most=2, is_exchanged=False))

    def evaluation() -> None:
        found.evaluation_batch_s = _timed_s(session, lambda: _evaluate_longest(session))

    def step() -> None:
        still = lambda: _still_step(session, lambda: accumulate(session, batch, is_exchanged=False))  # noqa: E731
        found.longest_batch_step_s = _timed_s(session, still)

    for number, work in enumerate((begin, step, evaluation)):
        if number and is_over():
            return True
        if not _fits(session, work):
            return False
    return True


def _fits(session: Session, work: Callable[[], None]) -> bool:
    """Do something that may run out of memory; whether it was enough, on all processes."""
    ran_out = False
    try:
        work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or (session.is_sharded and session.accelerator.num_processes > 1):
            raise
        ran_out = True
    # The exception is gone by now, and with it the frames that hold the attempt's tensors.
    return not session.agree(int(ran_out))


def _still_step(session: Session, backward: Callable[[], torch.Tensor]) -> None:
    """An optimizer step that leaves the weights alone."""
    session.tuned.unfreeze(session.stage)
    session.tuned.set_training()
    backward()
    for group in session.optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            if parameter.grad is not None:
                # A rate of 0 times a gradient that is not finite would still be no number.
                parameter.grad.zero_()
    update(session.optimizer, max_grad_norm=session.job.training.max_grad_norm, scaler=session.scaler)


def _evaluate_longest(session: Session) -> None:
    accelerator, split = session.accelerator, session.task.validation
    model = session.tuned.model.eval()
    batch = evaluation_batches(split.lengths, 2 * session.micro_batch)[0]
    with torch.no_grad() if session.is_sharded else torch.inference_mode():
        inputs = {key: value.to(accelerator.device) for key, value in session.task.inputs(split, batch).items()}
        targets = session.task.targets(split, batch).to(accelerator.device)
        session.task.rows(model, inputs, targets).double().cpu()
    session.after_forward_only()


def _typical_step_s(session: Session, steps: int, is_over: Callable[[], bool]) -> float:
    """Expected time of a step: that of batches from the short to the long ones, by their padded lengths."""
    spent_s, shares = 0.0, 0.0
    for batch, share in typical_batches(session, min(steps, session.total_steps)):
        if shares and is_over():
            break
        still = lambda batch=batch: _still_step(session, lambda: accumulate(session, batch))  # noqa: E731
        spent_s += _timed_s(session, still)
        shares += share
    return spent_s / shares * mean_share(session)


def _save_s(session: Session) -> float:
    """Time of one checkpoint; it is of the untouched model, so that it is not kept."""
    started_s = time.perf_counter()
    root = session.out / _FOLDER
    if session.is_sharded and not session.accelerator.is_main_process:
        checkpoint.take_part(session.tuned.model, session.optimizer)

    def write() -> None:
        model, optimizer, scaler = session.tuned.model, session.optimizer, session.scaler
        try:
            checkpoint.save(root, session.progress, model, optimizer, [checkpoint.capture_rng()], scaler)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    on_first(session.accelerator, write)
    return time.perf_counter() - started_s


def _timed_s(session: Session, work: Callable[[], None]) -> float:
    """Seconds that it takes, until the device is through with it."""
    _wait(session.accelerator.device)
    started_s = time.perf_counter()
    work()
    _wait(session.accelerator.device)
    return time.perf_counter() - started_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _remaining_s(session: Session, found: _Found) -> float:
    """What is ahead, as measured; what there was no time to measure is not in it."""
    total = session.total_steps * (found.step_s or 0.0)
    if found.evaluation_batch_s is not None:
        total += found.evaluation_batch_s * evaluations_ahead(session)
    # The tuned model is written once more at the end.
    return total + (found.save_s or 0.0) * (saves_ahead(session) + 1)
