"""`python -m tasks.measure`: a data set as the trainer will see it, measured without torch, for planning.

Request (a JSON object, from a file or standard input):
    {"task", "model": {"source", "revision"} or null, "data": {fields of DataChoice}, "max_length", "batch_size",
     "seed", "preview_rows" (optional)}
Answer (one JSON object on standard output, exit status 0):
    {"schema": 2, "train_samples", "validation_samples", "test_samples", "labels": [str], "label_counts": {str: int},
     "kind", "mean_tokens", "longest_tokens", "padded_mean_tokens", "truncated_share", "bytes", "sha256" or null,
     "basis", "measured", "warnings": [{"code", "message"}]}
and, where the task has them, "padded_means": [{"samples", "tokens"}] (mean length with parts of batches padded to their
longest, from single samples to whole batches, which is "padded_mean_tokens"), "packed_sequences", "packed_fill",
"mean_target_tokens", "longest_target_tokens", "mean_width", "mean_height", "largest_width", "largest_height",
"mean_seconds", "longest_seconds", "sampling_rate_hz".
Error (exit status as in `tasks.protocol`): {"error": {"code", "message", "hint"}}
Token figures are those of the training set after truncation to max_length, counted as `tasks.step_trace` counts the
length of a sample: 1 for an image, samples of the waveform at 16 kHz for audio. With `model` null, tokens are estimated
from characters and `measured` is false. `labels` is empty where samples have none, `sha256` null for media, whose
headers alone are read. With `preview_rows` the answer is that of `tasks.previewing`, for a person to look at.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.failures import TaskError, as_task_error
from tasks.job import DataChoice, ModelChoice
from tasks.kinds import TASK_KINDS
from tasks.measuring import Asked, measured
from tasks.previewing import previewed
from tasks.protocol import TASK_EXIT_STATUS, FailureCode
from tasks.sources import local_model
from tasks.tokens import TOKENIZER_FILES, check_max_length

MEASURE_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured."""

    task: str
    model: ModelChoice | None
    data: DataChoice
    max_length: int
    batch_size: int
    seed: int
    preview_rows: int | None = None
    """First rows to show instead of the figures of a plan; None: the figures."""


def main(arguments: list[str] | None = None) -> int:
    """Answer one request; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tasks.measure", description="Measure a data set for planning.")
    parser.add_argument("--request", default="-", metavar="FILE", help="request in JSON; - is standard input")
    asked = parser.parse_args(arguments)
    try:
        answer = measure(_read_request(asked.request))
    except Exception as error:
        # The one rim of this process: each failure becomes an answer, and a defect keeps its traceback on stderr.
        failure = as_task_error(error)
        if failure.code is FailureCode.INTERNAL:
            traceback.print_exc()
        _write({"error": {"code": str(failure.code), "message": failure.message, "hint": failure.hint}})
        return TASK_EXIT_STATUS[failure.code]
    _write(answer)
    return 0


def measure(request: Request) -> dict[str, Any]:
    """The answer to a request; see the module's docstring.

    Raises:
        TaskError: data or model cannot be used as asked.
    """
    warnings: list[dict[str, str]] = []
    folder = None if request.model is None else _tokenizer_folder(request.model)
    kind = TASK_KINDS.get(request.task)
    if folder is not None and request.preview_rows is None and (kind is None or kind.samples == "tokens"):
        check_max_length(folder, request.max_length)
    asked = Asked(
        task=request.task,
        folder=folder,
        data=request.data,
        max_length=request.max_length,
        batch_size=request.batch_size,
        seed=request.seed,
    )

    def notify(code: str, message: str) -> None:
        warnings.append({"code": code, "message": message})

    if request.preview_rows is not None:
        figures = previewed(asked, rows=request.preview_rows, notify=notify)
    else:
        figures = measured(asked, notify)
    return {"schema": MEASURE_VERSION, **figures, "warnings": warnings}


def _tokenizer_folder(choice: ModelChoice) -> Path | None:
    """The model's folder; None when it has a config.json and no tokenizer: what runs on it can be planned all the same.

    Weights may be missing too: they are wanted for training only.
    """
    folder = Path(choice.source).expanduser()
    if not (folder / "config.json").is_file():
        return local_model(choice.source, choice.revision)
    return folder if any((folder / name).is_file() for name in TOKENIZER_FILES) else None


def _read_request(file: str) -> Request:
    try:
        if file == "-":
            record = json.load(sys.stdin)
        else:
            with open(file, encoding="utf-8") as stream:
                record = json.load(stream)
        model = record["model"]
        return Request(
            task=str(record.get("task", "text-classification")),
            model=None if model is None else ModelChoice(**model),
            data=DataChoice(**record["data"]),
            max_length=int(record["max_length"]),
            batch_size=int(record["batch_size"]),
            seed=int(record["seed"]),
            preview_rows=None if record.get("preview_rows") is None else int(record["preview_rows"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(FailureCode.BAD_JOB, f"The request cannot be read: {error!r}") from error


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
