"""The measuring worker: one request to `python -m tasks.measure` in a process of its own, one answer or an error."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from manager.errors import DataError, how_to_install
from manager.profiling.task_process import NoAnswerError, NotStartedError, TooLateError, ask
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats, PaddedMean
from tasks.kinds import TASK_KINDS

Json = dict[str, Any]

MEASURE_VERSION = 2
_WORKER = "tasks.measure"
_OPTIONAL = tuple(
    field.name for field in fields(DataStats) if field.default is not MISSING and field.name != "padded_means"
)
"""Figures that not every task has; the worker calls them as DataStats does."""


def worker_request(spec: RunSpec, *, model_folder: Path | None) -> Json:
    """What the worker is asked; see `tasks.measure`. Without a folder it estimates lengths from characters."""
    kind = TASK_KINDS[spec.task]
    reads_text = kind.length == "tokens"
    model = {"source": str(model_folder), "revision": None} if model_folder is not None and reads_text else None
    return {
        "task": spec.task,
        "model": model,
        "data": asdict(spec.data),
        "max_length": spec.training.max_length,
        "batch_size": spec.training.batch_size,
        "seed": spec.training.seed,
    }


def ask_worker(request: Json, *, timeout_s: float) -> Json:
    """The worker's answer.

    Raises:
        DataError: the worker's own error with its hint, no answer in time, or no readable answer.
    """
    try:
        # NumPy's linear algebra starts a thread a core, and measuring has none to do.
        answer = ask(_WORKER, request, timeout_s=timeout_s, environment={"OPENBLAS_NUM_THREADS": "1"})
    except TooLateError as error:
        raise DataError(
            f"measuring the data took longer than {timeout_s:g} s",
            hint="raise measure_timeout_s in the settings, or give a smaller sample of the data",
        ) from error
    except NotStartedError as error:
        raise DataError(f"the measuring worker did not answer: {error}", hint="install tunefare again") from error
    except NoAnswerError as error:
        raise DataError(
            f"the measuring worker did not answer: {error}",
            hint=f"`tunefare doctor` tells what is missing; {how_to_install('local')}",
        ) from error
    failure = answer.get("error")
    if failure is not None:
        raise DataError(str(failure["message"]), hint=failure.get("hint"))
    return answer


def data_stats(answer: Json) -> DataStats:
    """The answer as DataStats; the worker's warnings are told in its basis.

    Raises:
        DataError: the answer is of a newer version, or incomplete.
    """
    try:
        if answer["schema"] != MEASURE_VERSION:
            raise DataError(f"the measuring worker speaks version {answer['schema']}", hint="install tunefare again")
        warnings = [str(warning["message"]).rstrip(".") for warning in answer.get("warnings", ())]
        return DataStats(
            train_samples=int(answer["train_samples"]),
            validation_samples=int(answer["validation_samples"]),
            test_samples=int(answer["test_samples"]),
            labels=tuple(str(label) for label in answer["labels"]),
            mean_tokens=float(answer["mean_tokens"]),
            longest_tokens=int(answer["longest_tokens"]),
            padded_mean_tokens=float(answer["padded_mean_tokens"]),
            truncated_share=float(answer["truncated_share"]),
            bytes=int(answer["bytes"]),
            sha256=answer["sha256"],
            basis="; ".join([str(answer["basis"]), *warnings]),
            measured=bool(answer["measured"]),
            padded_means=tuple(PaddedMean(**part) for part in answer.get("padded_means", ())),
            **{name: answer[name] for name in _OPTIONAL if name in answer},
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"the measuring worker's answer is incomplete: {error!r}"
        raise DataError(message, hint="install tunefare again") from error
