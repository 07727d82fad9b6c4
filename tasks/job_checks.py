"""Hyper-parameters that cannot work, found before anything is loaded."""

from __future__ import annotations

from tasks.failures import TaskError, nearest_hint
from tasks.job import Job
from tasks.kinds import TASK_KINDS
from tasks.methods import METHODS
from tasks.optimizers import OPTIMIZERS
from tasks.precision import PRECISIONS
from tasks.protocol import FailureCode
from tasks.sharding import check_sharding
from tasks.task import check_task

DEVICES = ("cpu", "cuda")
ATTENTIONS = ("auto", "eager", "sdpa", "flash_attention_2")
LOSSES = ("plain", "chunked")
SCHEDULES = ("linear", "cosine", "constant")
SHARDINGS = ("auto", "ddp", "fsdp")


def check_job(job: Job) -> None:
    """Refuse values outside their range and names that do not exist.

    Raises:
        TaskError: bad_job.
    """
    check_task(job)
    training, metrics = job.training, TASK_KINDS[job.task].metrics
    if training.precision == "fp16":
        raise TaskError(
            FailureCode.BAD_JOB,
            "training.precision fp16 is not trained: weights in float16 lose small updates and overflow.",
            hint="fp16-mixed keeps the weights in float32 and scales the gradients; bf16 keeps the range of float32.",
        )
    if training.precision == "auto":
        raise TaskError(
            FailureCode.BAD_JOB,
            "training.precision is auto; a job says which precision it trains in.",
            hint=f"Planning chooses one for each machine; in a job written by hand set one of {', '.join(PRECISIONS)}.",
        )
    _one_of("training.precision", training.precision, PRECISIONS)
    _one_of("training.optimizer", training.optimizer, tuple(OPTIMIZERS))
    _one_of("training.attention", training.attention, ATTENTIONS)
    _one_of("training.loss", training.loss, LOSSES)
    _one_of("training.schedule", training.schedule, SCHEDULES)
    _one_of("training.sharding", training.sharding, SHARDINGS)
    if not isinstance(training.gradient_checkpointing, bool | None):
        raise TaskError(
            FailureCode.BAD_JOB,
            f"training.gradient_checkpointing is {training.gradient_checkpointing!r}; it is true, false or null.",
        )
    _one_of("training.metric", training.metric, metrics)
    _one_of("method.kind", job.method.kind, tuple(METHODS))
    check_sharding(job)
    if job.device is not None:
        _one_of("device", job.device, DEVICES)
    if job.target is not None:
        _one_of("target.metric", job.target.metric, metrics)
    if job.task != "causal-lm":
        for name, is_asked in (("packing", training.packing), ("loss", training.loss != "plain")):
            if is_asked:
                raise TaskError(
                    FailureCode.BAD_JOB, f"training.{name} is {getattr(training, name)}, which is for causal-lm only."
                )
    for name, least in (("batch_size", 1), ("max_length", 4), ("log_every_steps", 1), ("keep_checkpoints", 1)):
        _at_least(f"training.{name}", getattr(training, name), least)
    for name in ("micro_batch", "max_steps", "eval_every_steps", "checkpoint_every_steps", "early_stopping_patience"):
        _at_least(f"training.{name}", getattr(training, name), 1)
    _at_least("training.image_size", training.image_size, 16)
    for name in ("lora_rank", "unfreeze_layers", "unfreeze_every_steps"):
        _at_least(f"method.{name}", getattr(job.method, name), 1)
    for name in ("epochs", "learning_rate"):
        if not getattr(training, name) > 0:
            raise TaskError(FailureCode.BAD_JOB, f"training.{name} must be above 0.")
    if not 0 <= training.warmup_ratio < 1:
        raise TaskError(FailureCode.BAD_JOB, "training.warmup_ratio must be at least 0 and below 1.")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TaskError(FailureCode.BAD_JOB, f"{field} is {value!r}.", hint=nearest_hint(value, allowed, "values"))


def _at_least(field: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise TaskError(FailureCode.BAD_JOB, f"{field} is {value}; it must be at least {least}.")
