"""One training session: what loop, evaluation and saving share, and how several processes agree."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs  # type: ignore[import-untyped]
from accelerate.utils import gather_object, set_seed  # type: ignore[import-untyped]
from torch import nn

from tasks import checkpoint
from tasks.batching import steps_per_epoch, total_steps
from tasks.checkpoint import Progress
from tasks.emit import EventWriter
from tasks.failures import TaskError
from tasks.guard import Guard
from tasks.methods import TunedModel, apply_method
from tasks.optimizers import new_optimizer
from tasks.precision import AUTOCAST, WEIGHT_TYPES, cast_weights
from tasks.protocol import CHECKPOINTS_DIR, EventType, FailureCode, Job, Outcome
from tasks.quantized import elements
from tasks.stop import StopFlag
from tasks.task import Task


@dataclass(slots=True, kw_only=True)
class Session:
    """The values of one start of the program; `progress` is the only one that changes while it trains."""

    job: Job
    out: Path
    events: EventWriter
    guard: Guard
    stop: StopFlag
    accelerator: Accelerator
    task: Task
    tuned: TunedModel
    """The bare model; evaluation and saving use it."""
    wrapped: nn.Module
    """The same model as the accelerator wraps it for several devices; training steps use it."""
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    test_evaluation_s: float = 0.0
    """How long the baseline took, and so about how long the final evaluation will take."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per pass over the training set."""
        return steps_per_epoch(len(self.task.train), self.job.training.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        training = self.job.training
        return total_steps(len(self.task.train), training.batch_size, training.epochs, training.max_steps)

    @property
    def micro_batch(self) -> int:
        """Samples per forward pass and device."""
        share = math.ceil(self.job.training.batch_size / int(self.accelerator.num_processes))
        return min(self.job.training.micro_batch or share, share)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales losses and gradients under fp16-mixed; None under the other precisions."""
        found: torch.amp.GradScaler | None = self.accelerator.scaler
        return found

    @property
    def stage(self) -> int:
        """Of gradual unfreezing, at this step; from 0."""
        every = self.job.method.unfreeze_every_steps or self.steps_per_epoch
        return self.progress.step // every

    @property
    def exported_step(self) -> int:
        """Optimizer steps behind the weights that are evaluated last and exported: the best, else the last ones."""
        best = self.progress.best
        return self.progress.step if best is None else int(best["step"])

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.out / CHECKPOINTS_DIR

    def asked_to_end(self, next_s: float = 0.0) -> Outcome | None:
        """Stopped or cap_reached, the same on all processes, or None to go on; next_s is the next piece of work."""
        own = 1 if self.stop.requested else 2 if self.guard.must_stop(next_s) else 0
        return (None, Outcome.STOPPED, Outcome.CAP_REACHED)[self.agree(own)]

    def agree(self, value: int) -> int:
        """The largest of all processes' values; processes may see a signal or the clock at different steps."""
        if self.accelerator.num_processes == 1:
            return value
        tensor = torch.tensor([value], device=self.accelerator.device)
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
        return int(tensor.item())

    def keep_reserve(self, checkpoint_s: float) -> None:
        """Have the guard leave time for what follows training: a checkpoint, the final evaluation, the model."""
        self.guard.reserve_s = max(self.guard.reserve_s, 1.2 * self.test_evaluation_s + 2 * checkpoint_s)

    def save_checkpoint(self) -> None:
        """Checkpoint this step and drop those no longer needed.

        Raises:
            OSError, SafetensorError: it cannot be written; the older ones are untouched.
        """
        started_s = time.perf_counter()
        rngs = [checkpoint.capture_rng()]
        if self.accelerator.num_processes > 1:
            rngs = gather_object(rngs)
        if self.accelerator.is_main_process:
            is_new = not checkpoint.at_step(self.checkpoints, self.progress.step).exists()
            folder = checkpoint.save(
                self.checkpoints, self.progress, self.tuned.model, self.optimizer, rngs, self.scaler
            )
            best_step = None if self.progress.best is None else int(self.progress.best["step"])
            checkpoint.prune(self.checkpoints, keep=self.job.training.keep_checkpoints, best_step=best_step)
            if is_new:
                self.events.emit(
                    EventType.CHECKPOINT,
                    step=self.progress.step,
                    path=str(folder.relative_to(self.out)),
                    bytes=checkpoint.size_bytes(folder),
                    duration_s=time.perf_counter() - started_s,
                )
        self.accelerator.wait_for_everyone()
        self.keep_reserve(time.perf_counter() - started_s)

    def resume(self) -> None:
        """Go on from the newest checkpoint that can be read; without one, seed the generators for a first step."""
        for folder in checkpoint.newest_first(self.checkpoints):
            try:
                self.progress = checkpoint.load(
                    folder, self.tuned.model, self.optimizer, self.accelerator.process_index, self.scaler
                )
            except checkpoint.DAMAGED as error:
                self._set_aside(folder, error)
                continue
            return
        set_seed(self.job.training.seed, device_specific=True)

    def load_best(self) -> None:
        """Put the best weights into the model; the last ones stay where no evaluation has chosen any."""
        if self.progress.best is not None:
            step = int(self.progress.best["step"])
            checkpoint.load_learned(checkpoint.at_step(self.checkpoints, step), self.tuned.model, self.optimizer)

    def model_facts(self) -> dict[str, int]:
        """The fields of the `model` event."""
        sizes = [(elements(parameter), parameter.requires_grad) for parameter in self.tuned.model.parameters()]
        return {
            "parameters": sum(size for size, _ in sizes),
            "trainable_parameters": sum(size for size, learns in sizes if learns),
        }

    def _set_aside(self, folder: Path, error: Exception) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            kept = checkpoint.set_aside(folder)
            self.events.warn(
                "checkpoint_unreadable", f"{folder.name} cannot be read ({error}); renamed to {kept.name}."
            )
        self.accelerator.wait_for_everyone()


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
    settings: dict[str, Any] = {"cpu": is_cpu, "mixed_precision": AUTOCAST.get(job.training.precision, "no")}
    if job.method.kind == "gradual":
        # Weights that start to learn later have no gradient until then.
        settings["kwargs_handlers"] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(**settings)


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
    tuned = apply_method(task.new_model(), job.method)
    cast_weights(tuned.model, WEIGHT_TYPES[job.training.precision])
    if job.training.gradient_checkpointing:
        model: Any = tuned.model
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    wrapped: nn.Module = accelerator.prepare(tuned.model)
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
        optimizer=new_optimizer(
            tuned.model,
            name=job.training.optimizer,
            learning_rate=job.training.learning_rate,
            weight_decay=job.training.weight_decay,
            device_type=accelerator.device.type,
        ),
    )
