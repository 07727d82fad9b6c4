"""Which splits train, validate and test, whole rows out of tables, and shares held out: the same for every task.

Knows no tokenizer and no model, and nothing of what the columns mean. NumPy only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError, nearest_hint
from tasks.formats import Table, one_below_the_other
from tasks.job import DataChoice
from tasks.protocol import FailureCode
from tasks.reading import ALL, Notify, read_source
from tasks.sources import local_data
from tasks.splits import hold_out

Indices = NDArray[np.int64]
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A data set as tables."""

    train: Table
    """All splits that train, one after the other."""
    named: dict[str, Table]
    """Splits that `data.validation` and `data.test` name."""
    bytes: int
    sha256: str


def read_tables(choice: DataChoice, notify: Notify) -> Tables:
    """Fetch and read the tables of a data set.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job, with a hint that names what is there.
    """
    check_split_choice(choice)
    source = read_source(local_data(choice.source, choice.revision), notify)
    training = training_splits(source.splits, choice, notify)
    return Tables(
        train=one_below_the_other([source.splits[name] for name in training]),
        named={name: source.splits[name] for name in named_splits(choice)},
        bytes=source.bytes,
        sha256=source.sha256,
    )


def check_split_choice(choice: DataChoice) -> None:
    """Refuse splits that serve twice and shares that leave nothing.

    Raises:
        TaskError: bad_job.
    """
    names = Counter(name for name in (choice.train_split, choice.validation, choice.test) if isinstance(name, str))
    twice = [name for name, uses in names.items() if uses > 1]
    if twice:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"The split {twice[0]!r} is asked for more than one of training, validation and testing.",
            hint="Name three different splits, or hold out a share (data.validation: 0.1).",
        )
    shares = [share for share in (choice.validation, choice.test) if not isinstance(share, str)]
    if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"data.validation and data.test hold out {shares}: each share must be above 0, their sum below 1.",
        )


def named_splits(choice: DataChoice) -> set[str]:
    """Splits that are asked for by name for validation and test."""
    return {name for name in (choice.validation, choice.test) if isinstance(name, str)}


def training_splits(available: Collection[str], choice: DataChoice, notify: Notify) -> list[str]:
    """Names of the splits to train on, after a check that all that are asked for exist.

    Raises:
        TaskError: data_invalid, when there is no such split or none is left; bad_job, when one would serve twice.
    """
    held = named_splits(choice)
    for name in sorted(held | ({choice.train_split} if choice.train_split else set())):
        if name not in available:
            hint = nearest_hint(name, available, "splits")
            raise TaskError(FailureCode.DATA_INVALID, f"The data has no split {name!r}.", hint=hint)
    if choice.train_split is not None:
        used = {choice.train_split}
    elif ALL in available:
        used = {ALL}
    else:
        used = set(available) - held
        if not used:
            raise TaskError(FailureCode.DATA_INVALID, "No split is left to train on.", hint="Set data.train_split.")
    if used & held:
        raise TaskError(FailureCode.BAD_JOB, f"The split {min(used & held)!r} is asked for both training and testing.")
    unused = sorted(set(available) - used - held)
    if unused:
        notify(
            "unused_splits",
            f"The source also has the splits {', '.join(unused)}; they are used only when data.validation or data.test "
            "name them.",
        )
    return sorted(used)


def check_columns(table: Table, wanted: Collection[str], split: str) -> None:
    """Refuse an empty split, and one that lacks a column.

    Raises:
        TaskError: data_invalid.
    """
    if not len(table):
        raise TaskError(
            FailureCode.DATA_INVALID, f"The {split} split is empty.", hint="Check data.source and its splits."
        )
    for name in wanted:
        if name not in table.columns:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"The {split} split has no column {name!r}.",
                hint=nearest_hint(name, table.columns, "columns"),
            )


def whole_rows(table: Table, wanted: list[str], split: str, notify: Notify, *, what: str) -> list[Row]:
    """These columns as text, without the rows in which one of them is missing or blank.

    Args:
        frame: the split.
        wanted: names of columns.
        split: name of the split for messages.
        notify: takes a warning about rows left out.
        what: the columns in words, for that warning: `text or label`.

    Raises:
        TaskError: data_invalid, when the split is empty or lacks a column.
    """
    check_columns(table, wanted, split)
    rows = list(zip(*([cell_text(value) for value in table[name]] for name in wanted), strict=True))
    whole = [tuple(str(value) for value in row) for row in rows if all(value is not None for value in row)]
    if len(whole) < len(rows):
        notify("missing_values", f"{len(rows) - len(whole)} of {len(rows)} {split} rows lack {what}; left out.")
    return whole


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, or a number that is none."""
    return value is None or (isinstance(value, float | np.floating | Decimal) and bool(value != value))


def cell_text(value: Any) -> str | None:
    """A cell as text; None when missing or blank; 1.0 is `1`, as whole numbers beside missing ones become floats."""
    if is_missing(value):
        return None
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text if text.strip() else None


def label_names(labels: Collection[str]) -> tuple[str, ...]:
    """Names of the classes: in numeric order when all are whole numbers, else alphabetical."""
    names = sorted({label.strip() for label in labels})
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)


def label_indices(labels: Collection[str], names: tuple[str, ...], *, split: str) -> Indices:
    """Index of each label among the names.

    Raises:
        TaskError: data_invalid, for a label that training does not have.
    """
    index = {name: at for at, name in enumerate(names)}
    unknown = Counter(label.strip() for label in labels if label.strip() not in index)
    if unknown:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The split {split!r} has labels that are not in training: {', '.join(list(unknown)[:5])} "
            f"({sum(unknown.values())} samples).",
            hint=f"Labels of training: {', '.join(names[:20])}.",
        )
    return np.array([index[label.strip()] for label in labels], dtype=np.int64)


def check_label_names(names: tuple[str, ...], source: str) -> None:
    """Refuse one label alone; `source` says in words where the labels came from.

    Raises:
        TaskError: data_invalid.
    """
    if len(names) < 2:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"All training samples have the same label, {names[0]!r}; there is nothing to learn.",
            hint=f"Check {source} and how the data was sampled.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Indices into the training samples; None where a split of its own serves."""

    train: Indices
    validation: Indices | None
    test: Indices | None


def divide(choice: DataChoice, labels: Indices, groups: Indices, *, seed: int) -> Division:
    """Hold out the shares that are asked for, each label in proportion.

    Args:
        choice: names the shares.
        labels: label index of each training sample; all 0 where there are no labels.
        groups: group index of each sample; a group is not torn apart.
        seed: of the drawing.

    Raises:
        TaskError: data_invalid, when a held-out part would be empty.
    """
    wanted = {"test": choice.test, "validation": choice.validation}
    shares = tuple(share for share in wanted.values() if not isinstance(share, str))
    *parts, rest = hold_out(labels, shares, seed=seed, groups=groups)
    held = iter(parts)
    drawn = {name: None if isinstance(share, str) else next(held) for name, share in wanted.items()}
    for name, indices in drawn.items():
        if indices is not None and not len(indices):
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"{len(labels)} samples with {int(groups.max()) + 1} different texts are too few: "
                f"the {name} set would be empty.",
                hint=f"Raise data.{name}, or name a split of its own.",
            )
    return Division(train=rest, validation=drawn["validation"], test=drawn["test"])
