"""One training session: what loop, evaluation and saving share, and how several processes agree."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import gather_object, set_seed  # type: ignore[import-untyped]
from torch import nn

from tasks import checkpoint, restoring
from tasks.batching import steps_per_epoch, total_steps
from tasks.checkpoint import Progress
from tasks.emit import EventWriter
from tasks.guard import Guard
from tasks.heartbeat import HEART
from tasks.job import Job
from tasks.methods import TunedModel
from tasks.preemption import PreemptionWatch
from tasks.protocol import CHECKPOINTS_DIR, EventType, Outcome
from tasks.quantized import elements
from tasks.run_store import RunStore
from tasks.sharding import is_sharded, reshard
from tasks.stop import StopFlag
from tasks.task import Task
from tasks.together import from_first, largest, on_first, share


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
    micro_batch_limit: int | None = None
    """What memory was found to be enough for; None: nothing was found against the job's."""
    store: RunStore | None = None
    """Of the first process, where the run has one."""
    preemption: PreemptionWatch | None = None
    """Of the first process on a machine whose provider gives notice."""

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are divided over the processes."""
        return is_sharded(self.tuned.model)

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
        return min(self.job.training.micro_batch or share, share, self.micro_batch_limit or share)

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
        """Stopped or cap_reached, the same on all processes, or None to go on; next_s is the next piece of work.

        Where a machine is about to be taken back, the checkpoint of this step is saved on the way.
        """
        is_noticed = self.preemption is not None and self.preemption.is_due
        own = 2 if self.stop.requested else 3 if self.guard.must_stop(next_s) else int(is_noticed)
        agreed = self.agree(own)
        if agreed == 1:
            self._save_at_notice()
        return (None, None, Outcome.STOPPED, Outcome.CAP_REACHED)[agreed]

    def agree(self, value: int) -> int:
        """The largest of all processes' values; processes may see a signal or the clock at different steps."""
        return largest(self.accelerator, value)

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
        is_new = from_first(self.accelerator, not checkpoint.at_step(self.checkpoints, self.progress.step).exists())
        if is_new and self.is_sharded and not self.accelerator.is_main_process:
            checkpoint.take_part(self.tuned.model, self.optimizer)
        with HEART.inside_a_library():
            on_first(self.accelerator, lambda: self._write_checkpoint(rngs, started_s))
        upload_s = 0.0 if self.store is None else self.store.upload_s
        self.keep_reserve(time.perf_counter() - started_s + upload_s)

    def resume(self) -> None:
        """Go on from the newest checkpoint that can be read; without one, seed the generators for a first step."""
        with HEART.inside_a_library():
            self._resume()

    def _resume(self) -> None:
        saved = on_first(self.accelerator, self._newest_saved)
        if from_first(self.accelerator, saved is not None):
            self.progress = restoring.put_back(saved, self.tuned.model, self.optimizer, self.accelerator, self.scaler)
        else:
            set_seed(self.job.training.seed, device_specific=True)

    def load_best(self) -> None:
        """Put the best weights into the model; the last ones stay where no evaluation has chosen any."""
        if self.progress.best is None:
            return
        folder = checkpoint.at_step(self.checkpoints, int(self.progress.best["step"]))
        with HEART.inside_a_library():
            read = on_first(self.accelerator, lambda: restoring.open_weights(folder, self.tuned.model, self.optimizer))
            restoring.put_weights(read, self.tuned.model, self.optimizer, self.accelerator)

    def share_buffers(self) -> None:
        """Have the first process's stored buffers everywhere: running statistics go their own ways in training."""
        if self.accelerator.num_processes > 1:
            stored = self.tuned.model.state_dict(keep_vars=True)
            for name, buffer in self.tuned.model.named_buffers():
                if name in stored:
                    share(self.accelerator, buffer)

    def after_forward_only(self) -> None:
        """Free weights that an evaluation has left gathered."""
        if self.is_sharded:
            reshard(self.tuned.model)

    def model_facts(self) -> dict[str, int]:
        """The fields of the `model` event."""
        sizes = [(elements(parameter), parameter.requires_grad) for parameter in self.tuned.model.parameters()]
        return {
            "parameters": sum(size for size, _ in sizes),
            "trainable_parameters": sum(size for size, learns in sizes if learns),
        }

    def _save_at_notice(self) -> None:
        """Training goes on after it: what is done until the machine goes may be lost, a machine that stays is used."""
        watch = self.preemption
        if watch is not None:
            watch.heeded = True
        notice = None if watch is None else watch.notice
        source = "another machine of the run" if notice is None else notice.source
        left_s = None if notice is None else notice.seconds_left
        self.events.emit(EventType.PREEMPTED, source=source, seconds_left=left_s)
        if self.progress.step > 0:
            self.save_checkpoint()

    def _write_checkpoint(self, rngs: list[checkpoint.Rng], started_s: float) -> None:
        if self.store is not None:
            self.store.wait_for_upload()
        is_new = not checkpoint.at_step(self.checkpoints, self.progress.step).exists()
        folder = checkpoint.save(self.checkpoints, self.progress, self.tuned.model, self.optimizer, rngs, self.scaler)
        best_step = None if self.progress.best is None else int(self.progress.best["step"])
        checkpoint.prune(self.checkpoints, keep=self.job.training.keep_checkpoints, best_step=best_step)
        # A step that is done again on another machine was told of by the first.
        if is_new and not self.events.find(EventType.CHECKPOINT, step=self.progress.step):
            self.events.emit(
                EventType.CHECKPOINT,
                step=self.progress.step,
                path=str(folder.relative_to(self.out)),
                bytes=checkpoint.size_bytes(folder),
                duration_s=time.perf_counter() - started_s,
            )
        if is_new and self.store is not None:
            self.store.keep_checkpoint(folder)

    def _newest_saved(self) -> restoring.Saved | None:
        for folder in checkpoint.newest_first(self.checkpoints):
            try:
                return restoring.open_saved(folder, self.tuned.model, self.optimizer)
            except restoring.DAMAGED as error:
                kept = checkpoint.set_aside(folder)
                self.events.warn(
                    "checkpoint_unreadable", f"{folder.name} cannot be read ({error}); renamed to {kept.name}."
                )
        return None
