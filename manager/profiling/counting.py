"""A count of local text files with the standard library, for machines without the training libraries.

It reads CSV, TSV, JSON and JSON lines, counts samples and labels, and estimates tokens from characters; the answer is
marked as not measured, so that intervals widen. Quoting, encodings and splits in all their forms are the worker's
matter; folders of images and recordings are `counting_media`'s.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from manager.errors import DataError, how_to_install
from manager.profiling.counting_media import count_media
from manager.profiling.counting_splits import held_out, install_hint, no_column, training_split
from manager.profiling.padding import padded_means
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from tasks.chat import as_messages
from tasks.kinds import TASK_KINDS, TEXT_COLUMN
from tasks.packing import pack
from tasks.sample_units import CHARACTERS_PER_TOKEN, SPECIAL_TOKENS

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_LARGEST_FIELD = 2**27
_NOTHING_CUT = 2**31 - 1
"""A max_length that no text reaches."""


@dataclass(slots=True, kw_only=True)
class _Split:
    """What was counted in one split."""

    tokens: list[int] = field(default_factory=list)
    """Per sample, cut at max_length."""
    targets: list[int] = field(default_factory=list)
    """Per sample, of what is learnt; empty for labels."""
    truncated: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    """Samples of each; empty where there are none."""


def count_local(spec: RunSpec) -> DataStats:
    """Statistics of a local data set without its tokenizer.

    Raises:
        DataError: remote data, a format or layout that needs the worker, a missing column, nothing to train on.
    """
    source = Path(spec.data.source).expanduser()
    if not source.exists():
        raise _absent(spec.data.source, source)
    if TASK_KINDS[spec.task].samples != "tokens":
        return count_media(spec, source)
    files = _files_by_split(source)
    counted = {name: _count(parts, spec) for name, parts in files.items()}
    labels = {label for split in counted.values() for label in split.labels}
    sizes = {name: len(split.tokens) for name, split in counted.items()}
    train_name = training_split(spec, sizes)
    train = counted[train_name]
    validation, test, rest = held_out(spec, sizes, train_name)
    used = {train_name, *(choice for choice in (spec.data.validation, spec.data.test) if isinstance(choice, str))}
    mean = sum(train.tokens) / len(train.tokens)
    padded = padded_means(train.tokens, batch_size=spec.training.batch_size, seed=spec.training.seed)
    stats = DataStats(
        train_samples=rest,
        validation_samples=validation,
        test_samples=test,
        labels=tuple(sorted(labels)),
        mean_tokens=mean,
        longest_tokens=max(max(counted[part].tokens, default=0) for part in used),
        padded_mean_tokens=padded[-1].tokens,
        padded_means=padded,
        truncated_share=train.truncated / len(train.tokens),
        bytes=sum(path.stat().st_size for parts in files.values() for path in parts),
        sha256=None,
        basis=f"rows counted, tokens estimated at {CHARACTERS_PER_TOKEN:g} characters each; tunefare[local] measures",
        measured=False,
    )
    return _with_targets(stats, train, spec, longest=max(max(counted[part].targets, default=0) for part in used))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The training split of a local text data set, before anything is held out of it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first ones."""
    tokens: tuple[int, ...]
    """Of each sample, estimated and not cut."""
    labels: Counter[str]
    samples: tuple[int, int, int]
    """For training, validation and test."""
    bytes: int
    """Of all files of the source."""


def count_to_show(spec: RunSpec, *, rows: int) -> Counted:
    """The same data for a person to look at.

    Raises:
        DataError: as of count_local; of images and recordings too, which need the worker.
    """
    source = Path(spec.data.source).expanduser()
    if not source.exists():
        raise _absent(spec.data.source, source)
    if TASK_KINDS[spec.task].samples != "tokens":
        raise DataError(f"samples of {spec.task} cannot be shown without the libraries", hint=how_to_install("local"))
    whole = replace(spec, training=replace(spec.training, max_length=_NOTHING_CUT))
    files = _files_by_split(source)
    counted = {name: _count(parts, whole) for name, parts in files.items()}
    sizes = {name: len(split.tokens) for name, split in counted.items()}
    name = training_split(spec, sizes)
    validation, test, rest = held_out(spec, sizes, name)
    first = list(islice((row for path in files[name] for row in _rows(path)), rows))
    columns = _columns(spec, first[0]) if first else []
    return Counted(
        columns=tuple(columns),
        rows=tuple(tuple(str(row.get(column) or "") for column in columns) for row in first),
        tokens=tuple(counted[name].tokens),
        labels=counted[name].labels,
        samples=(rest, validation, test),
        bytes=sum(path.stat().st_size for parts in files.values() for path in parts),
    )


def _with_targets(stats: DataStats, train: _Split, spec: RunSpec, *, longest: int) -> DataStats:
    """What is learnt of each sample and, for a causal language model, what packing would make of them."""
    if not train.targets:
        return stats
    stats = replace(
        stats,
        mean_target_tokens=sum(train.targets) / len(train.targets),
        longest_target_tokens=longest,
    )
    if spec.task != "causal-lm":
        return stats
    sequences = len(pack(train.tokens, spec.training.max_length))
    return replace(
        stats,
        packed_sequences=math.ceil(sequences * stats.train_samples / len(train.tokens)),
        packed_fill=sum(train.tokens) / (sequences * spec.training.max_length),
    )


def _files_by_split(source: Path) -> dict[str, list[Path]]:
    if source.is_file():
        if source.suffix.lower() not in _SUFFIXES:
            raise DataError(
                f"a {source.suffix or 'nameless'} file cannot be read without the libraries",
                hint=install_hint("a CSV or JSONL file"),
            )
        return {source.stem: [source]}
    files = sorted(path for path in source.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES)
    if not files:
        raise DataError(
            f"no CSV or JSON files in '{source}' that can be read without the libraries",
            hint=install_hint("a CSV or JSONL file"),
        )
    return {path.stem: [path] for path in files}


def _count(files: Iterable[Path], spec: RunSpec) -> _Split:
    split, most = _Split(), spec.training.max_length
    for path in files:
        for number, row in enumerate(_rows(path), start=1):
            columns = _columns(spec, row)
            for column in columns:
                if column not in row:
                    raise no_column(path, column, row)
            if any(row[column] in (None, "") for column in columns):
                continue
            values = [row[column] for column in columns]
            if spec.task == "causal-lm" and columns == [spec.data.messages or "messages"]:
                values = [_messages(path, number, values[0])]
            _add(split, values, spec, most)
    return split


def _add(split: _Split, values: list[Any], spec: RunSpec, most: int) -> None:
    """One sample, by the values of its columns."""
    if spec.task == "text-classification":
        split.labels[str(values.pop())] += 1
        tokens, target = _tokens(values), None
    elif spec.task == "seq2seq-lm":
        tokens, target = _tokens(values[:1]), min(_tokens(values[1:]), most)
    else:
        # The start stands before what is read, the end after what is learnt, however short that is.
        unlearnt = 1 + (_length(values[:1]) if len(values) == 2 else 0)
        tokens = unlearnt + _length(values[-1:]) + 1
        target = min(tokens, most) - unlearnt
        if target < 1:
            return  # the prompt alone fills max_length: nothing to learn
    split.tokens.append(min(tokens, most))
    split.truncated += tokens > most
    if target is not None:
        split.targets.append(target)


def _columns(spec: RunSpec, row: dict[str, Any]) -> list[str]:
    """Columns that a sample is made of; the label last. As `tasks.text_data` chooses them."""
    data = spec.data
    if spec.task == "text-classification":
        return [data.text, *([data.text_pair] if data.text_pair else []), data.label]
    if spec.task == "seq2seq-lm":
        return [data.source_text or "source", data.target_text or "target"]
    if data.messages is not None:
        return [data.messages]
    if data.prompt is not None or data.completion is not None:
        return [data.prompt or "prompt", data.completion or "completion"]
    if data.text == TEXT_COLUMN and data.text not in row:
        if {"prompt", "completion"} <= row.keys():
            return ["prompt", "completion"]
        if "messages" in row:
            return ["messages"]
    return [data.text]


def _tokens(values: list[Any]) -> int:
    """Estimated tokens of texts and conversations together, with those that mark start and end."""
    return _length(values) + SPECIAL_TOKENS


def _length(values: list[Any]) -> int:
    """Estimated tokens of texts and conversations together, none special."""
    characters = 0
    for value in values:
        parts = value if isinstance(value, list) else [{"content": value}]
        characters += sum(len(str(part.get("content") or "")) for part in parts if isinstance(part, dict))
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def _messages(path: Path, number: int, value: Any) -> list[dict[str, Any]]:
    """A cell as the trainer reads it.

    Raises:
        DataError: it is no conversation.
    """
    try:
        return as_messages(value)
    except ValueError as error:
        raise DataError(
            f"row {number} of '{path}' cannot be read as a conversation: {error}",
            hint="each is to be a list of objects with the texts `role` and `content`",
        ) from error


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
        raise DataError(f"'{path}' cannot be read: {error}", hint=install_hint("a CSV or JSONL file")) from error


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


def _absent(given: str, path: Path) -> DataError:
    if given.startswith(("s3://", "gs://")) or path.suffix.lower() not in (*_SUFFIXES, ".parquet"):
        return DataError(
            f"nothing is known here of the data '{given}': it is not on this machine",
            hint=f"to have it read once, {how_to_install('local')}; or give a local file of the same size",
        )
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    suggestion = f"did you mean '{path.parent / near[0]}'?" if near else "check the path"
    return DataError(f"no data file '{given}'", hint=suggestion)
