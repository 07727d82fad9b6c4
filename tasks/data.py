"""From a DataChoice to labelled samples in three sets; all that can be wrong with a data set is found here.

Knows no tokenizer and no model. NumPy only: the planner measures data with this code and without torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.job import DataChoice
from tasks.protocol import FailureCode
from tasks.reading import Notify
from tasks.tables import Row, check_label_names, divide, label_indices, label_names, read_tables, whole_rows


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
    tables = read_tables(choice, notify)
    wanted = [choice.text, *([choice.text_pair] if choice.text_pair else []), choice.label]
    frames = {**tables.named, "": tables.train}
    rows = {
        name: whole_rows(frame, wanted, name or "training", notify, what="text or label")
        for name, frame in frames.items()
    }
    names = label_names([row[-1] for row in rows[""]])
    train = _samples(rows.pop(""), names)
    if not len(train):
        raise TaskError(
            FailureCode.DATA_INVALID, "The training set is empty.", hint="See the warnings on missing values."
        )
    check_label_names(names, f"data.label ({choice.label!r})")
    named = {name: _samples(part, names, split=name) for name, part in rows.items()}
    division = divide(choice, train.labels, _text_groups(train), seed=seed)
    validation = _held(choice.validation, named, train, division.validation)
    test = _held(choice.test, named, train, division.test)
    train = train.take(division.train)
    _warn_of_duplicates(train, {"validation": validation, "test": test}, notify)
    return LabelledData(
        train=train,
        validation=validation,
        test=test,
        labels=names,
        source=choice.source,
        bytes=tables.bytes,
        sha256=tables.sha256,
    )


def _held(share: str | float, named: dict[str, Samples], train: Samples, indices: NDArray[np.int64] | None) -> Samples:
    """A held-out set: a split of its own, or a part of the training samples."""
    if isinstance(share, str):
        return named[share]
    assert indices is not None, "divide gives indices for each share"
    return train.take(indices)


def _samples(rows: list[Row], names: tuple[str, ...], *, split: str = "") -> Samples:
    ids = label_indices([row[-1] for row in rows], names, split=split)
    if split and not rows:
        raise TaskError(FailureCode.DATA_INVALID, f"The split {split!r} is empty.")
    pairs = [row[1] for row in rows] if rows and len(rows[0]) == 3 else None
    return Samples(texts=[row[0] for row in rows], pairs=pairs, labels=ids)


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
