"""Gradients of one global batch, cut into micro-batches that fit: what the loop and the probe do alike."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from tasks.batching import Indices, micro_batches
from tasks.session import Session
from tasks.step import run_micro_batch


def accumulate(session: Session, batch: Indices, *, most: int | None = None, is_exchanged: bool = True) -> torch.Tensor:
    """Forward and backward over the micro-batches of one global batch; gradients add up in the parameters.

    Gradients are those of the mean loss over the whole batch, however it is cut: each micro-batch adds the sum of its
    losses divided by what the batch's loss is averaged over (samples, or tokens that are learnt), times the number of
    processes, by which data-parallel averaging divides.

    Args:
        session: with the model in its training mode.
        batch: of all processes together.
        most: micro-batches to compute at most; None: all.
        is_exchanged: whether processes average their gradients with the last micro-batch. Divided weights always do.

    Returns:
        Sum of this process's losses; a tensor without dimensions.
    """
    accelerator, split = session.accelerator, session.task.train
    processes = accelerator.num_processes
    over = session.task.weight(split, batch)
    parts = micro_batches(batch, session.micro_batch, rank=accelerator.process_index, world_size=processes)[:most]
    total = torch.zeros((), device=accelerator.device)
    for number, (indices, count) in enumerate(parts, start=1):
        inputs = {key: value.to(accelerator.device) for key, value in session.task.inputs(split, indices).items()}
        targets = session.task.targets(split, indices).to(accelerator.device)
        # Gradients travel between processes once per step, with the last micro-batch; divided ones after each, for
        # they would all stand whole on each device until then.
        is_synced = session.is_sharded or (is_exchanged and number == len(parts))
        with nullcontext() if is_synced else accelerator.no_sync(session.wrapped):
            total += run_micro_batch(
                session.wrapped,
                inputs,
                targets,
                loss_sum=session.task.loss_sum,
                backward=accelerator.backward,
                weight=1.0 if count else 0.0,
                scale=processes / over,
            )
    return total
