"""Samples that are a file each, with a label or a transcript: folders, tables that name or hold the files, three sets.

Knows nothing of what is in the files. NumPy only: the planner measures data with this code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.formats import Table
from tasks.job import DataChoice
from tasks.protocol import FailureCode
from tasks.reading import ALL, SUFFIXES, Notify, hash_files, read_source, visible_files
from tasks.sources import local_data
from tasks.tables import (
    cell_text,
    check_columns,
    check_label_names,
    check_split_choice,
    divide,
    label_indices,
    label_names,
    named_splits,
    training_splits,
)

Item = Path | bytes | NDArray[np.uint8]
"""A file, what one holds, or an image's pixels (height x width, or height x width x channels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSet:
    """One set of samples."""

    items: list[Item]
    texts: list[str]
    """Name of the label, or text or transcript."""
    labels: NDArray[np.int64]
    """Index into MediaData.labels; all 0 where there are none."""

    def __len__(self) -> int:
        return len(self.items)

    def take(self, indices: NDArray[np.int64]) -> MediaSet:
        """The samples at these indices, in this order."""
        return MediaSet(
            items=[self.items[at] for at in indices],
            texts=[self.texts[at] for at in indices],
            labels=self.labels[indices],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaData:
    """The data set."""

    train: MediaSet
    validation: MediaSet
    test: MediaSet
    labels: tuple[str, ...]
    """Names; empty without labels."""
    source: str
    bytes: int
    sha256: str | None
    """None when hashing was not asked for."""

    def label_counts(self) -> dict[str, int]:
        """Training samples per label."""
        counts = np.bincount(self.train.labels, minlength=len(self.labels))
        return {name: int(count) for name, count in zip(self.labels, counts, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """Splits as they were read: items and their texts."""

    splits: dict[str, tuple[list[Item], list[str]]]
    files: list[Path]
    """All that belongs to the data set."""
    root: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKind:
    """What differs between images and sound."""

    name: str
    """image or audio."""
    text: str
    """What samples without labels have: a text or a transcript."""
    suffixes: tuple[str, ...]
    columns: tuple[str, ...]
    """Columns of a table that may hold or name the files, the likeliest first."""


def load_media(
    choice: DataChoice,
    kind: MediaKind,
    *,
    has_labels: bool,
    seed: int,
    notify: Notify,
    with_hash: bool,
    arrays: Callable[[Path], MediaSource | None] = lambda _: None,
) -> MediaData:
    """Fetch, read, check and split.

    Args:
        choice: names source, columns and splits.
        kind: which files are meant.
        has_labels: whether samples have labels; else texts, which only a table has.
        seed: of the held-out shares.
        notify: takes warnings.
        with_hash: whether to hash all files, which reads them.
        arrays: reads sources that are arrays; None when the source is none.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job.
    """
    check_split_choice(choice)
    path = local_data(choice.source, choice.revision)
    source = arrays(path) or _tables(path, choice, kind, has_labels=has_labels, notify=notify)
    source = source or _folders(path, kind, has_labels=has_labels)
    data = _divided(source, choice, has_labels=has_labels, seed=seed, notify=notify)
    return MediaData(
        train=data["train"],
        validation=data["validation"],
        test=data["test"],
        labels=label_names([*data["train"].texts]) if has_labels else (),
        source=choice.source,
        bytes=sum(file.stat().st_size for file in source.files),
        sha256=hash_files(source.root, source.files) if with_hash else None,
    )


def _divided(
    source: MediaSource, choice: DataChoice, *, has_labels: bool, seed: int, notify: Notify
) -> dict[str, MediaSet]:
    splits = source.splits
    training = training_splits(splits, choice, notify)
    texts = [text for name in training for text in splits[name][1]]
    if not texts:
        raise TaskError(FailureCode.DATA_INVALID, "The training set is empty.")
    names = label_names(texts) if has_labels else ()
    if has_labels:
        check_label_names(names, "the labels")

    def numbered(split: str, items: list[Item], texts: list[str]) -> MediaSet:
        if not items:
            raise TaskError(FailureCode.DATA_INVALID, f"The split {split!r} is empty.")
        zeros = np.zeros(len(texts), dtype=np.int64)
        return MediaSet(
            items=items, texts=texts, labels=label_indices(texts, names, split=split) if has_labels else zeros
        )

    train = numbered("training", [item for name in training for item in splits[name][0]], texts)
    named = {name: numbered(name, *splits[name]) for name in named_splits(choice)}
    division = divide(choice, train.labels, np.arange(len(train)), seed=seed)

    def held(share: str | float, indices: NDArray[np.int64] | None) -> MediaSet:
        if isinstance(share, str):
            return named[share]
        assert indices is not None, "divide gives indices for each share"
        return train.take(indices)

    return {
        "train": train.take(division.train),
        "validation": held(choice.validation, division.validation),
        "test": held(choice.test, division.test),
    }


def _tables(path: Path, choice: DataChoice, kind: MediaKind, *, has_labels: bool, notify: Notify) -> MediaSource | None:
    """Tables with a column of files; None when the source has no table."""
    files = [path] if path.is_file() else visible_files(path, SUFFIXES) if path.is_dir() else []
    if not files:
        return None
    root = path if path.is_dir() else path.parent
    splits = {
        name: _rows(table, root, choice, kind, name, has_labels=has_labels, notify=notify)
        for name, table in read_source(path, notify).splits.items()
    }
    named = [item for items, _ in splits.values() for item in items if isinstance(item, Path)]
    missing = [item for item in named if not item.is_file()]
    if missing:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{len(missing)} of {len(named)} {kind.name} files do not exist, such as {str(missing[0])!r}.",
            hint="Paths in a table are meant from the folder that the table lies in, or from data.source.",
        )
    return MediaSource(splits=splits, files=sorted({*files, *named}), root=root)


def _rows(
    table: Table,
    root: Path,
    choice: DataChoice,
    kind: MediaKind,
    split: str,
    *,
    has_labels: bool,
    notify: Notify,
) -> tuple[list[Item], list[str]]:
    given = choice.image if kind.name == "image" else choice.audio
    column = given or _first(table, kind.columns)
    text_column = choice.label if has_labels else _text_column(table, choice, kind)
    check_columns(table, [column, text_column], split)
    items: list[Item] = []
    texts: list[str] = []
    for cell, text in zip(table[column], table[text_column], strict=True):
        item, said = _item(cell, root), cell_text(text)
        if item is not None and said is not None:
            items.append(item)
            texts.append(said)
    if len(items) < len(table):
        what = "label" if has_labels else kind.text
        lacking = len(table) - len(items)
        notify("missing_values", f"{lacking} of {len(table)} {split} rows lack {kind.name} or {what}; left out.")
    return items, texts


def _text_column(table: Table, choice: DataChoice, kind: MediaKind) -> str:
    if kind.name == "image":
        return choice.text
    return choice.transcript or _first(table, ("transcript", choice.text))


def _item(cell: Any, root: Path) -> Item | None:
    """Bytes, a path, or {bytes, path}; None when empty."""
    if isinstance(cell, dict):
        return _item(cell.get("bytes") or cell.get("path"), root)
    if isinstance(cell, bytes):
        return cell or None
    return root / cell.strip() if isinstance(cell, str) and cell.strip() else None


def _first(table: Table, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in table.columns), names[0])


def _folders(path: Path, kind: MediaKind, *, has_labels: bool) -> MediaSource:
    """Files at <label>/<name> or <split>/<label>/<name>."""
    files = visible_files(path, kind.suffixes) if path.is_dir() else []
    if not files:
        raise TaskError(
            FailureCode.DATA_NOT_FOUND,
            f"{str(path)!r} holds no {kind.name} files and no table of them.",
            hint=_what_is_needed(kind, has_labels=has_labels),
        )
    if not has_labels:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{str(path)!r} has {kind.name} files and no table with their {kind.text}s.",
            hint=f"Put a table such as metadata.csv beside them, with the columns {kind.columns[1]} and {kind.text}.",
        )
    depths = {len(file.relative_to(path).parts) for file in files}
    if depths not in ({2}, {3}):
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The {kind.name} files of {str(path)!r} do not lie in one subfolder per label.",
            hint=f"Expected is <label>/<{kind.name} file>, or <split>/<label>/<{kind.name} file>, for all of them.",
        )
    splits: dict[str, tuple[list[Item], list[str]]] = {}
    for file in files:
        *split, label, _ = file.relative_to(path).parts
        items, texts = splits.setdefault(split[0] if split else ALL, ([], []))
        items.append(file)
        texts.append(label)
    return MediaSource(splits=splits, files=files, root=path)


def _what_is_needed(kind: MediaKind, *, has_labels: bool) -> str:
    suffixes, tables = ", ".join(kind.suffixes), ", ".join(SUFFIXES)
    if has_labels:
        return f"It needs a subfolder of {suffixes} per label, or a table ({tables})."
    return f"It needs a table ({tables}) with the columns {kind.columns[1]} and {kind.text}, beside files ({suffixes})."
