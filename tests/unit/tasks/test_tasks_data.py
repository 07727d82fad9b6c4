"""Columns, labels, splits: everything that can be wrong with a data set has its own message."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.data import LabelledData, load_data
from tasks.failures import TaskError
from tasks.formats import table_of
from tasks.job import DataChoice
from tasks.tables import whole_rows

Write = Callable[[str, list[dict[str, Any]]], Path]


def load(source: Path, **choice: Any) -> tuple[LabelledData, list[str]]:
    notes: list[str] = []
    asked = DataChoice(source=str(source), **choice)
    return load_data(asked, seed=0, notify=lambda code, message: notes.append(f"{code}: {message}")), notes


def rows(**counts: int) -> list[dict[str, Any]]:
    return [{"text": f"{label} {at}", "label": label} for label, count in counts.items() for at in range(count)]


def fails(source: Path, code: str, part: str, **choice: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        load(source, **choice)
    assert caught.value.code == code
    assert part in caught.value.message
    return caught.value


def test_shares_are_stratified_and_seeded(write_jsonl: Write) -> None:
    file = write_jsonl("all.jsonl", rows(a=60, b=30, c=10))
    data, notes = load(file, validation=0.2, test=0.1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [70, 20, 10]
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)] == [
        [42, 21, 7],
        [12, 6, 2],
        [6, 3, 1],
    ]
    texts = data.train.texts + data.validation.texts + data.test.texts
    assert len(set(texts)) == 100
    again, _ = load(file, validation=0.2, test=0.1)
    assert again.test.texts == data.test.texts
    other = load_data(DataChoice(source=str(file), validation=0.2, test=0.1), seed=1, notify=lambda *_: None)
    assert other.test.texts != data.test.texts
    assert notes == []


def test_texts_keep_their_labels(write_jsonl: Write) -> None:
    data, _ = load(write_jsonl("all.jsonl", rows(a=20, b=20)))
    for part in (data.train, data.validation, data.test):
        assert [text.split()[0] for text in part.texts] == [data.labels[at] for at in part.labels]


def test_named_splits(write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    write_jsonl("set/test.jsonl", [{"text": "new", "label": "b"}])
    write_jsonl("set/extra.jsonl", rows(a=1))
    data, notes = load(folder, validation=0.2, test="test")
    assert (len(data.train), len(data.validation), data.test.texts) == (8, 2, ["new"])
    assert len(notes) == 1
    assert "extra" in notes[0]


def test_a_single_file_may_have_any_name(write_jsonl: Write) -> None:
    assert len(load(write_jsonl("reviews.jsonl", rows(a=10, b=10)))[0].train) == 16


def test_missing_values_are_left_out_and_counted(write_jsonl: Write) -> None:
    bad: list[dict[str, Any]] = [{"text": "  ", "label": "a"}, {"text": "x", "label": None}, {"label": "a"}]
    data, notes = load(write_jsonl("all.jsonl", [*rows(a=10, b=10), *bad]))
    assert len(data.train) + len(data.validation) + len(data.test) == 20
    assert notes == ["missing_values: 3 of 23 training rows lack text or label; left out."]


def test_whole_numbers_are_labels_in_numeric_order(write_jsonl: Write) -> None:
    records = [{"text": f"t{at}", "label": at % 11} for at in range(110)] + [{"text": "x", "label": 10.0}]
    assert load(write_jsonl("all.jsonl", records))[0].labels == tuple(str(at) for at in range(11))


def test_two_texts(write_jsonl: Write) -> None:
    records = [{"a": f"p{at}", "b": f"q{at}", "y": "no" if at % 2 else "yes"} for at in range(20)]
    data, _ = load(write_jsonl("pairs.jsonl", records), text="a", text_pair="b", label="y")
    assert data.train.pairs is not None
    assert [text[1:] for text in data.train.texts] == [pair[1:] for pair in data.train.pairs]


def test_all_copies_of_a_text_go_to_one_side(write_jsonl: Write) -> None:
    records = [{"text": f"t{at // 3}", "label": "ab"[at // 3 % 2]} for at in range(300)]
    data, notes = load(write_jsonl("all.jsonl", records), validation=0.2, test=0.1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [210, 60, 30]
    texts = [set(part.texts) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 100
    assert notes == []


def test_pairs_are_copies_only_when_both_texts_are_equal(write_jsonl: Write) -> None:
    records = [{"text": "same", "other": f"o{at}", "label": "ab"[at % 2]} for at in range(20)]
    data, notes = load(write_jsonl("all.jsonl", records), text_pair="other")
    assert (len(data.train), notes) == (16, [])


def test_copies_of_one_text_cannot_be_split(write_jsonl: Write) -> None:
    file = write_jsonl("all.jsonl", [{"text": "same", "label": label} for label in "abab" * 10])
    fails(file, "data_invalid", "40 samples with 1 different texts are too few")


def test_duplicates_across_named_sets_are_told(write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    write_jsonl("set/dev.jsonl", [{"text": "a 0", "label": "a"}, {"text": "x", "label": "b"}])
    write_jsonl("set/test.jsonl", [{"text": "x", "label": "b"}, {"text": "y", "label": "b"}])
    _, notes = load(folder, validation="dev", test="test")
    assert [note.split(";")[0] for note in notes] == [
        "duplicates: 1 of 2 validation texts are also in training",
        "duplicates: 1 of 2 validation texts are also in test, which then judges a checkpoint that was chosen on it",
    ]


def test_a_missing_column_names_the_near_one(write_jsonl: Write) -> None:
    error = fails(write_jsonl("all.jsonl", rows(a=5, b=5)), "data_invalid", "no column 'txt'", text="txt")
    assert error.hint == "Did you mean 'text'? Available columns: text, label."


def test_a_missing_split_names_those_there(write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    error = fails(folder, "data_invalid", "no split 'tset'", test="tset")
    assert error.hint is not None
    assert "train" in error.hint


def test_one_class(write_jsonl: Write) -> None:
    fails(write_jsonl("all.jsonl", rows(a=9)), "data_invalid", "same label, 'a'")


def test_empty(write_jsonl: Write, tmp_path: Path) -> None:
    fails(write_jsonl("all.jsonl", []), "data_invalid", "empty")
    (tmp_path / "only-header.csv").write_text("text,label\n")
    fails(tmp_path / "only-header.csv", "data_invalid", "empty")
    fails(write_jsonl("blank.jsonl", [{"text": " ", "label": "a"}]), "data_invalid", "training set is empty")


def test_labels_that_are_not_in_training(write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    write_jsonl("set/test.jsonl", rows(a=1, z=3))
    error = fails(folder, "data_invalid", "not in training: z (3 samples)", test="test")
    assert error.hint == "Labels of training: a, b."


def test_too_few_samples_for_a_share(write_jsonl: Write) -> None:
    error = fails(write_jsonl("all.jsonl", rows(a=2, b=2)), "data_invalid", "test set would be empty")
    assert error.hint is not None


def test_training_and_testing_on_one_split(write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    fails(folder, "bad_job", "both training and testing", test="train")


@pytest.mark.parametrize("choice", [{"validation": "test", "test": "test"}, {"train_split": "test", "test": "test"}])
def test_one_split_for_two_uses(choice: dict[str, str], write_jsonl: Write) -> None:
    folder = write_jsonl("set/train.jsonl", rows(a=5, b=5)).parent
    write_jsonl("set/test.jsonl", rows(a=2, b=2))
    fails(folder, "bad_job", "'test' is asked for more than one of", **choice)


@pytest.mark.parametrize("missing", [float("nan"), np.float32("nan"), Decimal("NaN"), None])
def test_missing_cells_of_any_type_are_left_out(missing: Any) -> None:
    table = table_of({"text": ["x", missing, "y"], "label": [1, 2, 3]})
    found = whole_rows(table, ["text", "label"], "training", lambda *_: None, what="text or label")
    assert found == [("x", "1"), ("y", "3")]


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_dates_from_parquet_may_be_missing(unit: str, tmp_path: Path) -> None:
    dates = pd.to_datetime(["2026-01-01"] * 21).astype(f"datetime64[{unit}]")
    frame = pd.DataFrame({"text": [f"t{at}" for at in range(21)], "label": dates})
    frame.loc[::2, "label"] = pd.Timestamp("2026-01-02")
    frame.loc[20, "label"] = pd.NaT
    frame.to_parquet(tmp_path / "dated.parquet")
    data, notes = load(tmp_path / "dated.parquet")
    assert data.labels == ("2026-01-01 00:00:00", "2026-01-02 00:00:00")
    assert notes == ["missing_values: 1 of 21 training rows lack text or label; left out."]


@pytest.mark.parametrize(
    ("value", "text"), [(np.float32(1), "1"), (1.0, "1"), (np.float32(1.5), "1.5"), (True, "True")]
)
def test_whole_floats_are_whole_numbers(value: Any, text: str) -> None:
    table = table_of({"text": ["x"], "label": [value]})
    assert whole_rows(table, ["text", "label"], "training", lambda *_: None, what="text or label") == [("x", text)]


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.1), (0.5, 0.5), (1.5, 0.1)])
def test_shares_out_of_range(validation: float, test: float, write_jsonl: Write) -> None:
    fails(write_jsonl("all.jsonl", rows(a=5, b=5)), "bad_job", "hold out", validation=validation, test=test)
