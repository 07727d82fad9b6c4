"""A count of local text files with the standard library, for machines without the training libraries.

It reads CSV, TSV, JSON and JSON lines, counts samples and labels, and estimates tokens from characters; the answer is
marked as not measured, so that intervals widen. Quoting, encodings and splits in all their forms are the worker's
matter.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.errors import DataError
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats

_CHARACTERS_PER_TOKEN = 4.0
_SPECIAL_TOKENS = 2
_PADDING = 1.05
"""Padded over real length with length-grouped batches; measured sets lie between 1.01 and 1.1."""
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_INSTALL_HINT = "install tunefare[local] to have it read as the trainer reads it, or give a CSV or JSONL file"
_LARGEST_FIELD = 2**27


@dataclass(slots=True, kw_only=True)
class _Split:
    """What was counted in one split."""

    samples: int = 0
    tokens: int = 0
    longest: int = 0
    truncated: int = 0


def count_local(spec: RunSpec) -> DataStats:
    """Statistics of a local data set without its tokenizer.

    Raises:
        DataError: remote data, a format or layout that needs the worker, a missing column, nothing to train on.
    """
    source = Path(spec.data.source).expanduser()
    if not source.exists():
        raise _absent(spec.data.source, source)
    files = _files_by_split(source)
    labels: set[str] = set()
    counted = {name: _count(parts, spec, labels) for name, parts in files.items()}
    train_name = _train_name(counted, spec)
    train = counted[train_name]
    if train.samples == 0:
        raise DataError(f"'{spec.data.source}' has no samples to train on", hint="check the file and training split")
    validation, test, rest = _held_out(spec, counted, train_name)
    mean = train.tokens / train.samples
    return DataStats(
        train_samples=rest,
        validation_samples=validation,
        test_samples=test,
        labels=tuple(sorted(labels)),
        mean_tokens=mean,
        longest_tokens=train.longest,
        padded_mean_tokens=min(float(train.longest), mean * _PADDING),
        truncated_share=train.truncated / train.samples,
        bytes=sum(path.stat().st_size for parts in files.values() for path in parts),
        sha256=None,
        basis=f"rows counted, tokens estimated at {_CHARACTERS_PER_TOKEN:g} characters each; tunefare[local] measures",
        measured=False,
    )


def _files_by_split(source: Path) -> dict[str, list[Path]]:
    if source.is_file():
        if source.suffix.lower() not in _SUFFIXES:
            raise DataError(
                f"a {source.suffix or 'nameless'} file cannot be read without the libraries", hint=_INSTALL_HINT
            )
        return {source.stem: [source]}
    files = sorted(path for path in source.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES)
    if not files:
        raise DataError(
            f"no CSV or JSON files in '{source}' that can be read without the libraries", hint=_INSTALL_HINT
        )
    return {path.stem: [path] for path in files}


def _count(files: Iterable[Path], spec: RunSpec, labels: set[str]) -> _Split:
    split, data, most = _Split(), spec.data, spec.training.max_length
    for path in files:
        for row in _rows(path):
            for column in (data.text, data.label, *([data.text_pair] if data.text_pair else ())):
                if column not in row:
                    raise _no_column(path, column, row)
            if row[data.text] is None or row[data.label] in (None, ""):
                continue
            characters = len(str(row[data.text])) + (len(str(row[data.text_pair] or "")) if data.text_pair else 0)
            tokens = math.ceil(characters / _CHARACTERS_PER_TOKEN) + _SPECIAL_TOKENS
            labels.add(str(row[data.label]))
            split.samples += 1
            split.tokens += min(tokens, most)
            split.longest = max(split.longest, min(tokens, most))
            split.truncated += tokens > most
    return split


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as mappings by column name."""
    suffix = path.suffix.lower()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if suffix in (".csv", ".tsv"):
                csv.field_size_limit(_LARGEST_FIELD)
                yield from csv.DictReader(stream, delimiter="\t" if suffix == ".tsv" else ",")
            elif suffix == ".json":
                yield from _objects(_records(json.load(stream)))
            else:
                yield from _objects(json.loads(line) for line in stream if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read: {error}", hint=_INSTALL_HINT) from error


def _records(content: Any) -> list[Any]:
    """The list of a JSON file, which may stand under `data`, as the trainer reads it."""
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list):
        raise ValueError("a .json file must hold a list of objects, or an object with such a list under `data`")
    return content


def _objects(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is no JSON object")
        yield record


def _train_name(counted: dict[str, _Split], spec: RunSpec) -> str:
    asked = spec.data.train_split
    if asked is not None:
        if asked not in counted:
            raise DataError(f"no split '{asked}' in '{spec.data.source}'", hint=f"splits are {', '.join(counted)}")
        return asked
    if "train" in counted:
        return "train"
    if len(counted) == 1:
        return next(iter(counted))
    raise DataError(f"several files and none is called train in '{spec.data.source}'", hint="set data.train_split")


def _held_out(spec: RunSpec, counted: dict[str, _Split], train_name: str) -> tuple[int, int, int]:
    """Samples of validation and test, and those left to train on."""
    total = counted[train_name].samples
    sizes, held = [], 0
    for what, choice in (("validation", spec.data.validation), ("test", spec.data.test)):
        if isinstance(choice, str):
            if choice not in counted:
                known = ", ".join(counted)
                raise DataError(f"no split '{choice}' in '{spec.data.source}' for {what}", hint=f"splits are {known}")
            sizes.append(counted[choice].samples)
        else:
            sizes.append(round(choice * total))
            held += sizes[-1]
    return sizes[0], sizes[1], total - held


def _absent(given: str, path: Path) -> DataError:
    if given.startswith(("s3://", "gs://")) or path.suffix.lower() not in (*_SUFFIXES, ".parquet"):
        return DataError(
            f"nothing is known here of the data '{given}': it is not on this machine",
            hint="install tunefare[local] so that it can be read once, or give a local file of the same size",
        )
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    suggestion = f"did you mean '{path.parent / near[0]}'?" if near else "check the path"
    return DataError(f"no data file '{given}'", hint=suggestion)


def _no_column(path: Path, column: str, row: dict[str, Any]) -> DataError:
    columns = [str(name) for name in row]
    near = difflib.get_close_matches(column, columns, n=1)
    suggestion = f"did you mean '{near[0]}'? " if near else ""
    return DataError(f"'{path}' has no column '{column}'", hint=f"{suggestion}columns are {', '.join(columns[:20])}")
