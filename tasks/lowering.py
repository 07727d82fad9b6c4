"""Smaller micro-batches where memory runs out: halved until they fit, the batch itself kept by accumulation.

What was found is a warning in the event stream, so that it holds over resumes, on other machines too. No torch at
import: the rim of the program knows these errors before it loads anything.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence

from tasks.emit import EventWriter
from tasks.failures import TaskError, as_task_error
from tasks.protocol import MICRO_BATCH_LOWERED, EventType, FailureCode


class MicroBatchTooLargeError(Exception):
    """Memory ran out in a run that can start again with a smaller micro-batch."""

    def __init__(self, micro_batch: int) -> None:
        super().__init__(f"out of memory with micro-batches of {micro_batch}")
        self.micro_batch = micro_batch
        """Samples per forward pass and device that were too many."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any library says that memory ran out."""
    return as_task_error(error).code is FailureCode.OUT_OF_MEMORY


def lowered_micro_batch(events: EventWriter) -> int | None:
    """The micro-batch that earlier starts or the probe came down to; None: the job's own fits so far."""
    said = events.find(EventType.WARNING, code=MICRO_BATCH_LOWERED)
    return int(said[-1].data["micro_batch"]) if said else None


def say_lowered(events: EventWriter, tried: Sequence[int], micro_batch: int) -> None:
    """Tell that smaller micro-batches are used from now on.

    Args:
        events: the run's stream.
        tried: micro-batches that ran out of memory, largest first.
        micro_batch: that is used instead.
    """
    events.emit(
        EventType.WARNING,
        code=MICRO_BATCH_LOWERED,
        message=f"Out of memory with micro-batches of {_listed(tried)}; going on with {micro_batch}, the batch stays "
        "as it is.",
        micro_batch=micro_batch,
    )


def nothing_smaller(tried: Sequence[int]) -> TaskError:
    """The failure of a run that not even micro-batches of one sample fit."""
    return TaskError(
        FailureCode.OUT_OF_MEMORY,
        f"Out of memory with micro-batches of {_listed(tried)}: not even a single sample fits.",
        hint="Lower training.max_length, turn training.gradient_checkpointing on, or take a machine with more memory.",
    )


def free_memory() -> None:
    """Give back what the objects of a failed attempt held; nothing may refer to them any more."""
    gc.collect()
    import torch  # Loaded by then; this module is imported before it.

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        # The attempt that failed would else stand as the run's peak.
        torch.cuda.reset_peak_memory_stats()


def _listed(tried: Sequence[int]) -> str:
    *first, last = (str(one) for one in tried)
    return f"{', '.join(first)} and {last}" if first else last
