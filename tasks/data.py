"""From a DataChoice to labelled samples in three sets; all that can be wrong with a data set is found here.

Knows no tokenizer and no model. NumPy and pandas only: the planner measures data with this code and without torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.failures import TaskError, nearest_hint
from tasks.protocol import DataChoice, FailureCode
from tasks.reading import ALL, Notify, read_source
from tasks.sources import local_data
from tasks.splits import hold_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One set of samples."""

    texts: list[str]
    pairs: list[str] | None
    """Second texts, one per sample; None when the job has no text_pair."""
    labels: NDArray[np.int64]
    """Index into LabelledData.labels, one per sample."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.int64]) -> Samples:
        """The samples at these indices, in this order."""
        pairs = None if self.pairs is None else [self.pairs[at] for at in indices]
        return Samples(texts=[self.texts[at] for at in indices], pairs=pairs, labels=self.labels[indices])


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledData:
    """The data set, ready to be tokenized."""

    train: Samples
    validation: Samples
    test: Samples
    labels: tuple[str, ...]
    """Names; in numeric order when all are whole numbers, else alphabetical."""
    source: str
    bytes: int
    sha256: str

    def label_counts(self) -> dict[str, int]:
        """Training samples per label."""
        counts = np.bincount(self.train.labels, minlength=len(self.labels))
        return {name: int(count) for name, count in zip(self.labels, counts, strict=True)}


def load_data(choice: DataChoice, *, seed: int, notify: Notify) -> LabelledData:
    """Fetch, read, check and split a labelled data set.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job, with a hint that names what is there.
    """
    _check_split_choice(choice)
    source = read_source(local_data(choice.source, choice.revision), notify)
    frames = {name: _split(source.splits, name) for name in _named(choice)}
    frames[""] = _training_frame(source.splits, choice, notify)
    columns = {name: _columns(frame, choice, name or "training", notify) for name, frame in frames.items()}
    names = _label_names(columns[""][2])
    train = _samples(columns.pop(""), names)
    if not len(train):
        raise TaskError(
            FailureCode.DATA_INVALID, "The training set is empty.", hint="See the warnings on missing values."
        )
    if len(names) < 2:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"All training samples have the same label, {names[0]!r}; there is nothing to learn.",
            hint=f"Check data.label ({choice.label!r}) and how the data was sampled.",
        )
    named = {name: _samples(column, names, split=name) for name, column in columns.items()}
    test, validation, train = _hold_out(train, choice, named, seed=seed)
    _warn_of_duplicates(train, {"validation": validation, "test": test}, notify)
    return LabelledData(
        train=train,
        validation=validation,
        test=test,
        labels=names,
        source=choice.source,
        bytes=source.bytes,
        sha256=source.sha256,
    )


def _check_split_choice(choice: DataChoice) -> None:
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


def _training_frame(splits: dict[str, pd.DataFrame], choice: DataChoice, notify: Notify) -> pd.DataFrame:
    held = _named(choice)
    if choice.train_split is not None:
        used, frame = {choice.train_split}, _split(splits, choice.train_split)
    elif ALL in splits:
        used, frame = {ALL}, splits[ALL]
    else:
        used = set(splits) - held
        if not used:
            raise TaskError(FailureCode.DATA_INVALID, "No split is left to train on.", hint="Set data.train_split.")
        frame = pd.concat([splits[name] for name in sorted(used)], ignore_index=True)
    if used & held:
        raise TaskError(FailureCode.BAD_JOB, f"The split {min(used & held)!r} is asked for both training and testing.")
    unused = sorted(set(splits) - used - held)
    if unused:
        notify(
            "unused_splits",
            f"The source also has the splits {', '.join(unused)}; they are used only when data.validation or data.test "
            "name them.",
        )
    return frame


def _named(choice: DataChoice) -> set[str]:
    return {name for name in (choice.validation, choice.test) if isinstance(name, str)}


def _split(splits: dict[str, pd.DataFrame], name: str) -> pd.DataFrame:
    if name not in splits:
        hint = nearest_hint(name, splits, "splits")
        raise TaskError(FailureCode.DATA_INVALID, f"The data has no split {name!r}.", hint=hint)
    return splits[name]


Columns = tuple[list[str], list[str] | None, list[str]]


def _columns(frame: pd.DataFrame, choice: DataChoice, split: str, notify: Notify) -> Columns:
    """Texts, second texts and label names of the rows in which none of them is missing."""
    wanted = [choice.text, *([choice.text_pair] if choice.text_pair else []), choice.label]
    if not len(frame):
        raise TaskError(
            FailureCode.DATA_INVALID, f"The {split} split is empty.", hint="Check data.source and its splits."
        )
    for name in wanted:
        if name not in frame.columns:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"The {split} split has no column {name!r}.",
                hint=nearest_hint(name, map(str, frame.columns), "columns"),
            )
    rows = list(zip(*([_text(value) for value in frame[name]] for name in wanted), strict=True))
    whole = [row for row in rows if all(value is not None for value in row)]
    if len(whole) < len(rows):
        notify("missing_values", f"{len(rows) - len(whole)} of {len(rows)} {split} rows lack text or label; left out.")
    texts = [str(row[0]) for row in whole]
    pairs = [str(row[1]) for row in whole] if choice.text_pair else None
    return texts, pairs, [str(row[-1]) for row in whole]


def _text(value: Any) -> str | None:
    """A cell as text; None when missing or blank; 1.0 is `1`, as whole numbers beside missing ones become floats."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text if text.strip() else None


def _label_names(labels: list[str]) -> tuple[str, ...]:
    names = sorted({label.strip() for label in labels})
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)


def _samples(columns: Columns, names: tuple[str, ...], *, split: str = "") -> Samples:
    texts, pairs, labels = columns
    index = {name: at for at, name in enumerate(names)}
    unknown = Counter(label.strip() for label in labels if label.strip() not in index)
    if unknown:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The split {split!r} has labels that are not in training: {', '.join(list(unknown)[:5])} "
            f"({sum(unknown.values())} samples).",
            hint=f"Labels of training: {', '.join(names[:20])}.",
        )
    if split and not texts:
        raise TaskError(FailureCode.DATA_INVALID, f"The split {split!r} is empty.")
    ids = np.array([index[label.strip()] for label in labels], dtype=np.int64)
    return Samples(texts=texts, pairs=pairs, labels=ids)


def _hold_out(
    train: Samples, choice: DataChoice, named: dict[str, Samples], *, seed: int
) -> tuple[Samples, Samples, Samples]:
    """Test, validation and training set; named splits as they are, shares taken from the training samples."""
    wanted = (choice.test, choice.validation)
    shares = tuple(share for share in wanted if not isinstance(share, str))
    groups = _text_groups(train)
    *parts, rest = hold_out(train.labels, shares, seed=seed, groups=groups)
    held = iter(parts)
    sets = [named[share] if isinstance(share, str) else train.take(next(held)) for share in wanted]
    for name, samples in zip(("test", "validation"), sets, strict=True):
        if not len(samples):
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"{len(train)} samples with {int(groups.max()) + 1} different texts are too few: "
                f"the {name} set would be empty.",
                hint=f"Raise data.{name}, or name a split of its own.",
            )
    return sets[0], sets[1], train.take(rest)


def _warn_of_duplicates(train: Samples, held: dict[str, Samples], notify: Notify) -> None:
    known = set(_keys(train))
    for name, samples in held.items():
        count = sum(key in known for key in _keys(samples))
        if count:
            notify(
                "duplicates", f"{count} of {len(samples)} {name} texts are also in training; {name} metrics flatter."
            )
    test = set(_keys(held["test"]))
    count = sum(key in test for key in _keys(held["validation"]))
    if count:
        notify(
            "duplicates",
            f"{count} of {len(held['validation'])} validation texts are also in test, which then judges a checkpoint "
            "that was chosen on it; test metrics flatter.",
        )


def _text_groups(samples: Samples) -> NDArray[np.int64]:
    """Group index of each sample: equal texts, whatever their labels, are one group; numbered as they first occur."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in _keys(samples)], dtype=np.int64)


def _keys(samples: Samples) -> Iterator[tuple[str, str]]:
    return zip(samples.texts, samples.pairs or samples.texts, strict=True)
