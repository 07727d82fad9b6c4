"""Counting local files with the standard library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.errors import DataError
from manager.profiling.counting import count_local
from manager.spec.model import RunSpec
from tasks.job import DataChoice, ModelChoice, TrainingChoice


def _spec(data: DataChoice, max_length: int = 64) -> RunSpec:
    return RunSpec(
        name="x",
        task="text-classification",
        model=ModelChoice(source="m"),
        data=data,
        training=TrainingChoice(max_length=max_length),
    )


def _csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8")
    return path


def test_rows_labels_and_tokens_of_a_csv_file(tmp_path: Path) -> None:
    file = _csv(tmp_path / "d.csv", [("x" * 40, "a"), ("y" * 80, "b")] * 10 + [("no label", "")])
    stats = count_local(_spec(DataChoice(source=str(file))))
    assert (stats.train_samples, stats.validation_samples, stats.test_samples) == (16, 2, 2)
    assert stats.labels == ("a", "b")
    assert stats.mean_tokens == (12 + 22) / 2
    assert (stats.longest_tokens, stats.truncated_share, stats.measured) == (22, 0.0, False)
    assert stats.bytes == file.stat().st_size


def test_long_texts_are_cut_at_max_length(tmp_path: Path) -> None:
    file = _csv(tmp_path / "d.csv", [("x" * 4000, "a"), ("y", "b")])
    stats = count_local(_spec(DataChoice(source=str(file), validation=0.0, test=0.0)))
    assert (stats.longest_tokens, stats.truncated_share) == (64, 0.5)


def test_a_folder_of_splits_and_json_lines(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("validation", 3), ("test", 2)):
        lines = [json.dumps({"text": "hello", "label": number % 2}) for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stats = count_local(_spec(DataChoice(source=str(tmp_path), validation="validation", test="test")))
    assert (stats.train_samples, stats.validation_samples, stats.test_samples) == (6, 3, 2)
    assert stats.labels == ("0", "1")


def test_a_second_text_counts(tmp_path: Path) -> None:
    rows = [{"text": "x" * 40, "other": "y" * 40, "label": "a"}]
    (tmp_path / "d.json").write_text(json.dumps(rows), encoding="utf-8")
    choice = DataChoice(source=str(tmp_path / "d.json"), text_pair="other", validation=0.0, test=0.0)
    assert count_local(_spec(choice)).mean_tokens == 22


@pytest.mark.parametrize(
    ("choice", "message", "hint"),
    [
        (DataChoice(source="{}/d.csv", label="lable"), "no column 'lable'", "did you mean 'label'"),
        (DataChoice(source="{}/e.csv"), "no data file", "did you mean"),
        (DataChoice(source="{}/d.csv", train_split="tain"), "no split 'tain'", "splits are d"),
        (DataChoice(source="{}/d.csv", test="test"), "no split 'test'", "splits are d"),
        (DataChoice(source="org/dataset"), "nothing is known here", "tunefare[local]"),
        (DataChoice(source="s3://bucket/x.csv"), "nothing is known here", "tunefare[local]"),
        (DataChoice(source="{}/t.parquet"), "cannot be read without", "tunefare[local]"),
        (DataChoice(source="{}/empty.csv"), "no samples", "training split"),
        (DataChoice(source="{}/broken.jsonl"), "cannot be read", "tunefare[local]"),
    ],
)
def test_what_cannot_be_counted_says_why(tmp_path: Path, choice: DataChoice, message: str, hint: str) -> None:
    _csv(tmp_path / "d.csv", [("x", "a")])
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.csv").write_text("text,label\n", encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    source = choice.source.format(tmp_path)
    spec = _spec(DataChoice(source=source, label=choice.label, train_split=choice.train_split, test=choice.test))
    with pytest.raises(DataError, match=message) as caught:
        count_local(spec)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_list_under_data_is_read_as_the_trainer_reads_it(tmp_path: Path) -> None:
    rows = [{"text": "hello", "label": label} for label in ("a", "b")]
    (tmp_path / "d.json").write_text(json.dumps({"data": rows}), encoding="utf-8")
    stats = count_local(_spec(DataChoice(source=str(tmp_path / "d.json"), validation=0.0, test=0.0)))
    assert (stats.train_samples, stats.labels) == (2, ("a", "b"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("d.jsonl", '{"text": "a", "label": "b"}\n7\n', "record 2 is no JSON object"),
        ("d.json", "[1, 2]", "record 1 is no JSON object"),
        ("d.json", '{"rows": []}', "must hold a list of objects"),
        ("d.json", "3", "must hold a list of objects"),
    ],
)
def test_json_that_holds_no_rows_is_refused(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        count_local(_spec(DataChoice(source=str(tmp_path / name))))
