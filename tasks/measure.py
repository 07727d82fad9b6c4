"""`python -m tasks.measure`: a data set as the trainer will see it, measured without torch, for planning.

Request (a JSON object, from a file or standard input):
    {"model": {"source", "revision"} or null, "data": {fields of DataChoice}, "max_length", "batch_size", "seed"}
Answer (one JSON object on standard output, exit status 0):
    {"schema": 1, "train_samples", "validation_samples", "test_samples", "labels": [str], "label_counts": {str: int},
     "mean_tokens", "longest_tokens", "padded_mean_tokens", "truncated_share", "bytes", "sha256", "basis", "measured",
     "warnings": [{"code", "message"}]}
Error (exit status as in `tasks.protocol`): {"error": {"code", "message", "hint"}}
Token figures are those of the training set after truncation to max_length. With `model` null they are estimated from
characters and `measured` is false.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.batching import epoch_batches, padded_tokens
from tasks.data import LabelledData, Samples, load_data
from tasks.failures import TaskError, as_task_error
from tasks.protocol import TASK_EXIT_STATUS, DataChoice, FailureCode, ModelChoice
from tasks.sources import local_model
from tasks.tokens import Lengths, check_max_length, measure_lengths

MEASURE_VERSION = 1
MOST_SAMPLES = 20_000
CHARACTERS_PER_TOKEN = 4.0
"""Rule of thumb for English subword vocabularies; used only when no model is given, and said so in `basis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured."""

    model: ModelChoice | None
    data: DataChoice
    max_length: int
    batch_size: int
    seed: int


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
    folder = None if request.model is None else local_model(request.model.source, request.model.revision)
    if folder is not None:
        check_max_length(folder, request.max_length)
    data = load_data(
        request.data,
        seed=request.seed,
        notify=lambda code, message: warnings.append({"code": code, "message": message}),
    )
    samples, basis = _sample(data.train, request.seed)
    if folder is None:
        lengths = _estimate_lengths(samples, request.max_length)
        basis = f"estimated at {CHARACTERS_PER_TOKEN:g} characters a token, no tokenizer at hand"
    else:
        lengths = measure_lengths(folder, samples, request.max_length)
    figures = _figures(lengths, request)
    return {**_counts(data), **figures, "basis": basis, "measured": folder is not None, "warnings": warnings}


def _sample(train: Samples, seed: int) -> tuple[Samples, str]:
    if len(train) <= MOST_SAMPLES:
        return train, f"all {len(train):,} training samples tokenized"
    picked = np.sort(np.random.default_rng(seed).choice(len(train), MOST_SAMPLES, replace=False))
    return train.take(picked), f"a seeded sample of {MOST_SAMPLES:,} of {len(train):,} training samples tokenized"


def _estimate_lengths(samples: Samples, max_length: int) -> Lengths:
    pairs = samples.pairs or [""] * len(samples)
    characters = [len(text) + len(pair) for text, pair in zip(samples.texts, pairs, strict=True)]
    tokens = np.array([math.ceil(count / CHARACTERS_PER_TOKEN) + 2 for count in characters], dtype=np.int64)
    return Lengths(tokens=np.minimum(tokens, max_length), truncated=int((tokens > max_length).sum()))


def _figures(lengths: Lengths, request: Request) -> dict[str, Any]:
    tokens = lengths.tokens
    batches = epoch_batches(tokens, request.batch_size, seed=request.seed, epoch=0)
    return {
        "mean_tokens": float(tokens.mean()),
        "longest_tokens": int(tokens.max()),
        "padded_mean_tokens": padded_tokens(tokens, batches) / len(tokens),
        "truncated_share": lengths.truncated / len(tokens),
    }


def _counts(data: LabelledData) -> dict[str, Any]:
    return {
        "schema": MEASURE_VERSION,
        "train_samples": len(data.train),
        "validation_samples": len(data.validation),
        "test_samples": len(data.test),
        "labels": list(data.labels),
        "label_counts": data.label_counts(),
        "bytes": data.bytes,
        "sha256": data.sha256,
    }


def _read_request(file: str) -> Request:
    try:
        if file == "-":
            record = json.load(sys.stdin)
        else:
            with open(file, encoding="utf-8") as stream:
                record = json.load(stream)
        model = record["model"]
        return Request(
            model=None if model is None else ModelChoice(**model),
            data=DataChoice(**record["data"]),
            max_length=int(record["max_length"]),
            batch_size=int(record["batch_size"]),
            seed=int(record["seed"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(FailureCode.BAD_JOB, f"The request cannot be read: {error!r}") from error


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
