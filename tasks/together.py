"""How the processes of one run agree: what the first one read or decided reaches the others, and so does its failure.

Only the first process of all reads and writes the run's folder: other machines need not see it. Whatever it alone may
meet (a full disk, a damaged checkpoint) goes through here, so that no process waits for one that has given up.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]

from tasks.failures import TaskError, as_task_error
from tasks.protocol import FailureCode

T = TypeVar("T")

_ended: list[object] = []
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others (torch's default for GPUs is 10 minutes): the first one may be writing a
checkpoint, or another machine still downloading the model."""


def largest(accelerator: Accelerator, value: int) -> int:
    """The largest of all processes' values; processes may see a signal or the clock at different steps."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor([value], device=accelerator.device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    return int(tensor.item())


def from_first(accelerator: Accelerator, value: T) -> T:
    """The first process's value, on all processes; a plain object."""
    if accelerator.num_processes == 1:
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def on_first(accelerator: Accelerator, work: Callable[[], T]) -> T | None:
    """Have the first process do something while the others wait; its result there, None on the others.

    Raises:
        Exception: what the work raised, on the first process.
        TaskError: the same as a failure with a code, on the others.
    """
    return on_all(accelerator, work if accelerator.is_main_process else lambda: None)


def on_all(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Have each process do something of its own and wait for the others; one failure is that of all.

    Raises:
        Exception: what the work raised, on the process that did it.
        TaskError: the same as a failure with a code, on the others.
    """
    if accelerator.num_processes == 1:
        return work()
    try:
        result = work()
    except Exception as error:
        # Told to the others before it is raised: they would wait for this process.
        known = as_task_error(error)
        gather_object([(str(known.code), known.message, known.hint)])
        accelerator.wait_for_everyone()
        raise
    for failure in gather_object([None]):
        if failure is not None:
            accelerator.wait_for_everyone()
            code, message, hint = failure
            raise TaskError(FailureCode(code), message, hint=hint)
    return result


def end_group(accelerator: Accelerator) -> None:
    """Leave the group of processes, once all of them have come here; it is kept until `let_go_of_group`.

    Whoever lets go of it last waits for Gloo's threads to end, and they may still need the interpreter to drop the
    tensors of the last exchange. A group gives the interpreter up meanwhile; the reducer in a model that was prepared
    for several processes does not, and must not be the last (pytorch/pytorch#56297).
    """
    accelerator.wait_for_everyone()
    if torch.distributed.is_initialized():
        _ended.append(torch.distributed.group.WORLD)
    accelerator.end_training()


def let_go_of_group() -> None:
    """When nothing holds the model any more: end the threads of a group that `end_group` has left."""
    if _ended:
        gc.collect()
        _ended.clear()


def share(accelerator: Accelerator, tensor: torch.Tensor) -> None:
    """Overwrite a whole tensor on the run's device with the first process's values."""
    if accelerator.num_processes > 1:
        torch.distributed.broadcast(tensor, src=0)
