"""Asks the trainer's own program for one step on this machine (`python -m tasks.preflight`), within limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from manager.profiling.task_process import NoAnswerError, TooLateError, ask
from tasks.job import Job

_WORKER = "tasks.preflight"
_SAMPLES = 8
"""Of each set: enough for several labels, and no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one step showed."""

    loss: float
    step_s: float
    samples: int
    layers: int | None
    """That were tried, where this machine is too small for all; None: all."""
    has_own_weights: bool
    """False: random ones, as the model's are not here or too big."""
    changed: tuple[str, ...]
    """What differs from the job, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailure:
    """Why there is no answer."""

    at: str | None
    """`data`, `model` or `step`; None: the worker itself ended or took too long."""
    code: str | None
    """A `tasks.protocol.FailureCode`."""
    message: str
    hint: str | None


def try_step(job: Job, *, memory_bytes: int, timeout_s: float) -> Trial | TrialFailure:
    """Try one step of a job here.

    Args:
        job: as it would be launched.
        memory_bytes: that the step may take.
        timeout_s: for data, model and step together.
    """
    request = {"job": json.loads(job.to_json()), "samples": _SAMPLES, "memory_bytes": memory_bytes}
    try:
        return _read(ask(_WORKER, request, timeout_s=timeout_s, environment={"CUDA_VISIBLE_DEVICES": ""}))
    except TooLateError as error:
        return _silent(str(error), "raise the setting measure_timeout_s")
    except NoAnswerError as error:
        return _silent(str(error), None)
    except (ValueError, KeyError, TypeError) as error:
        return _silent(f"its answer is incomplete: {error!r}", None)


def _read(answer: dict[str, Any]) -> Trial | TrialFailure:
    error = answer.get("error")
    if error is not None:
        return TrialFailure(at=error["at"], code=error["code"], message=error["message"], hint=error["hint"])
    return Trial(
        loss=float(answer["loss"]),
        step_s=float(answer["step_s"]),
        samples=int(answer["samples"]),
        layers=answer["layers"],
        has_own_weights=answer["weights"] == "own",
        changed=tuple(answer["changed"]),
    )


def _silent(message: str, hint: str | None) -> TrialFailure:
    return TrialFailure(at=None, code=None, message=message, hint=hint)
