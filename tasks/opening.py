"""Makes a session: the accelerator of all processes, the model as method, precision and sharding ask, its optimizer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from accelerate import (  # type: ignore[import-untyped]
    Accelerator,
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
)
from accelerate.utils import set_seed  # type: ignore[import-untyped]
from torch import nn

from tasks.emit import EventWriter
from tasks.failures import TaskError
from tasks.guard import Guard
from tasks.job import Job
from tasks.lowering import lowered_micro_batch
from tasks.methods import TunedModel, apply_method
from tasks.optimizers import new_optimizer
from tasks.precision import AUTOCAST, WEIGHT_TYPES, cast_weights
from tasks.protocol import FailureCode
from tasks.session import Session
from tasks.sharding import shard
from tasks.stop import StopFlag
from tasks.task import Task
from tasks.together import PATIENCE, on_all


def start_accelerator(job: Job) -> Accelerator:
    """The device or devices of this process group.

    Raises:
        TaskError: bad_job, when the job's device is not there or cannot compute in the precision that is asked for.
    """
    is_cpu = job.device == "cpu"
    if job.device == "cuda" and not torch.cuda.is_available():
        raise TaskError(
            FailureCode.BAD_JOB,
            "The job is for a CUDA device, and torch finds none on this machine.",
            hint="Check the driver and that torch is built for CUDA, or plan the run for a CPU.",
        )
    if job.training.precision == "fp16-mixed" and (is_cpu or not torch.cuda.is_available()):
        raise TaskError(
            FailureCode.BAD_JOB,
            "training.precision fp16-mixed is for CUDA devices; a CPU does not compute in float16.",
            hint="Set training.precision to fp32 or bf16-mixed.",
        )
    is_bf16 = job.training.precision.startswith("bf16")
    if (
        is_bf16
        and not is_cpu
        and torch.cuda.is_available()
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{torch.cuda.get_device_name()} does not compute in bfloat16.",
            hint="Set training.precision to fp32, or take an accelerator of the Ampere generation or newer.",
        )
    # Left alone, Accelerate takes whatever accelerator it finds (Apple's, say) though the plan counted on the CPU.
    # Where there is none, several processes have to be told so, or each would train by itself.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    is_cpu = is_cpu or (processes > 1 and not torch.accelerator.is_available())
    settings: dict[str, Any] = {"cpu": is_cpu, "mixed_precision": AUTOCAST.get(job.training.precision, "no")}
    handlers: list[Any] = [InitProcessGroupKwargs(timeout=PATIENCE)]
    if job.method.kind == "gradual":
        # Weights that start to learn later have no gradient until then.
        handlers.append(DistributedDataParallelKwargs(find_unused_parameters=True))
    accelerator = Accelerator(**settings, kwargs_handlers=handlers)
    if accelerator.num_processes != processes:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{processes} processes were started, and this one trains with {accelerator.num_processes}.",
            hint="Check that torch sees the accelerators of every node.",
        )
    return accelerator


def open_session(
    job: Job,
    out: Path,
    events: EventWriter,
    guard: Guard,
    stop: StopFlag,
    accelerator: Accelerator,
    task: Task,
) -> Session:
    """Load the model, apply the method and the precision, make the optimizer.

    Raises:
        TaskError: model_not_found or bad_job.
    """
    # Before the head is drawn: the same seed gives the same baseline on each machine.
    set_seed(job.training.seed)
    is_divided = job.training.sharding == "fsdp" and accelerator.num_processes > 1
    if is_divided:
        tuned = _divided(task, job, accelerator)
        # Its own wrapper; `evaluation_mode` is autocast alone.
        wrapped: nn.Module = accelerator.prepare_model(tuned.model, evaluation_mode=True)
    else:
        tuned = on_all(accelerator, lambda: _prepared(task, job, device=None))
        wrapped = accelerator.prepare(tuned.model)
    return Session(
        job=job,
        out=out,
        events=events,
        guard=guard,
        stop=stop,
        accelerator=accelerator,
        task=task,
        tuned=tuned,
        wrapped=wrapped,
        micro_batch_limit=lowered_micro_batch(events),
        optimizer=new_optimizer(
            tuned.model,
            name=job.training.optimizer,
            learning_rate=job.training.learning_rate,
            weight_decay=job.training.weight_decay,
            device_type=accelerator.device.type,
        ),
    )


def _prepared(task: Task, job: Job, *, device: str | None) -> TunedModel:
    tuned = apply_method(task.new_model(device=device), job.method)
    cast_weights(tuned.model, WEIGHT_TYPES[job.training.precision])
    if job.training.gradient_checkpointing:
        model: Any = tuned.model
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return tuned


def _divided(task: Task, job: Job, accelerator: Accelerator) -> TunedModel:
    """The model over all devices; the first process alone reads it."""
    device = "cpu" if accelerator.is_main_process else "meta"
    return shard(on_all(accelerator, lambda: _prepared(task, job, device=device)), job, accelerator)
