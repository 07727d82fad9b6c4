"""Formats and layouts of data sources."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.failures import TaskError
from tasks.reading import read_source


class Notes(list[tuple[str, str]]):
    """Collects warnings."""

    def __call__(self, code: str, message: str) -> None:
        self.append((code, message))


ROWS = [{"text": 'a "quoted", text', "label": "NA"}, {"text": "größe\nzwei Zeilen", "label": "007"}]


def write(folder: Path, name: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(ROWS)
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix in (".csv", ".tsv"):
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    elif file.suffix == ".json":
        file.write_text(json.dumps(ROWS), encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_each_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    source = read_source(write(tmp_path, f"reviews{suffix}"), Notes())
    assert list(source.splits) == ["reviews"]
    table = source.splits["reviews"]
    assert {name: table[name] for name in table.columns} == {name: [row[name] for row in ROWS] for name in ROWS[0]}
    assert source.bytes == (tmp_path / f"reviews{suffix}").stat().st_size


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv", "test.csv"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
        ["train/0000.parquet", "test/0000.parquet"],
    ],
)
def test_layouts_of_splits(names: list[str], tmp_path: Path) -> None:
    for name in names:
        write(tmp_path, name)
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".hidden.csv").write_text("x")
    splits = read_source(tmp_path, Notes()).splits
    assert {name: len(table) for name, table in splits.items()} == {
        "train": 2 * sum("train" in name for name in names),
        "test": 2,
    }


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "en/train.csv")
    write(tmp_path, "de/train.csv")
    with pytest.raises(TaskError, match=r"de/train\.csv, en/train\.csv") as caught:
        read_source(tmp_path, Notes())
    assert caught.value.code == "data_invalid"


def test_a_folder_per_label_counts_files_that_are_not_utf8(tmp_path: Path) -> None:
    for label, name, content in (("b", "1", b"price \xa315"), ("a", "1", "größe".encode()), ("a", "2", b"plain")):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{name}.txt").write_bytes(content)
    notes = Notes()
    table = read_source(tmp_path, notes).splits["train"]
    assert (table["text"], table["label"]) == (["größe", "plain", "price £15"], ["a", "a", "b"])
    assert notes == [("not_utf8", "1 of 3 files are not UTF-8 and were read as Latin-1.")]


def test_a_folder_per_split_and_label(tmp_path: Path) -> None:
    for path in ("train/a", "train/b", "test/a"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "1.txt").write_text("words")
    splits = read_source(tmp_path, Notes()).splits
    assert {name: sorted(table["label"]) for name, table in splits.items()} == {"train": ["a", "b"], "test": ["a"]}


def test_texts_beside_label_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("words")
    (tmp_path / "readme.txt").write_text("words")
    with pytest.raises(TaskError, match="subfolder per label"):
        read_source(tmp_path, Notes())


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        write(folder, "train.csv")
    before = read_source(one, Notes()).sha256
    assert before == read_source(two, Notes()).sha256
    (two / "train.csv").write_text("text,label\nx,y\n")
    assert read_source(two, Notes()).sha256 != before


def test_names_of_class_labels_come_from_the_parquet_file(tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    feature = {"label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}
    table = arrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    info = json.dumps({"info": {"features": feature}})
    parquet.write_table(table.replace_schema_metadata({"huggingface": info}), tmp_path / "train.parquet")
    labels = read_source(tmp_path, Notes()).splits["train"]["label"]
    assert labels == ["spam", "ham", None]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"text": \n', "line 2"),
        ("x.jsonl", b"[1]\n", "record 1 is no JSON object"),
        ("x.json", b'{"rows": []}', "list of objects"),
        ("x.parquet", b"no parquet at all", "x.parquet cannot be read"),
        ("x.csv", b'text,label\n"never closed,a\n', "x.csv cannot be read: a quoted cell never ends"),
        ("x.csv", b"text,label\nx,y\nx,y,z\n", "line 3 has 3 cells, the header 2"),
        ("x.xlsx", b"PK", "no format"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes, part: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=part) as caught:
        read_source(tmp_path / name, Notes())
    assert caught.value.code == "data_invalid"


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(TaskError) as caught:
            read_source(path, Notes())
        assert caught.value.code == "data_not_found"
