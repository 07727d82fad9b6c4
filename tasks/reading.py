"""Reads a file or a folder into one table per split; knows formats and layouts, nothing of columns' meaning or labels.

Layouts of a folder: files named after their split (`train.csv`, `data/train-00000-of-00002.parquet`,
`train/0000.parquet`), or one subfolder per label with .txt files, directly or under a folder per split.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.failures import TaskError
from tasks.protocol import FailureCode

Notify = Callable[[str, str], None]
"""Takes the code and the message of a warning."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
ALL = "train"
"""Name of the split when the source has only one and does not name it."""
_SPLIT_FOLDERS = ("train", "validation", "valid", "val", "dev", "test")
_METADATA_FILES = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "metadata.json")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was read."""

    splits: dict[str, pd.DataFrame]
    bytes: int
    """Size of the files that were read."""
    sha256: str
    """Over relative names and contents of the files that were read, in order of their names."""


def read_source(path: Path, notify: Notify) -> Source:
    """Read a data file, or all data files of a folder.

    Raises:
        TaskError: data_not_found (no such path, no data files in it) or data_invalid (a file cannot be read).
    """
    if path.is_file():
        return Source(
            splits={path.stem: _read_file(path, notify)},
            bytes=path.stat().st_size,
            sha256=hash_files(path.parent, [path]),
        )
    if not path.is_dir():
        raise TaskError(FailureCode.DATA_NOT_FOUND, f"There is no data file or folder {str(path)!r}.")
    files = visible_files(path, SUFFIXES)
    texts = [] if files else visible_files(path, (".txt",))
    if not files and not texts:
        raise TaskError(
            FailureCode.DATA_NOT_FOUND,
            f"The folder {str(path)!r} holds no data files.",
            hint=f"It needs files named after their splits ({', '.join(SUFFIXES)}) or a subfolder of .txt per label.",
        )
    splits = _read_split_files(path, files, notify) if files else _read_label_folders(path, texts, notify)
    used = files or texts
    return Source(splits=splits, bytes=sum(file.stat().st_size for file in used), sha256=hash_files(path, used))


def visible_files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder by the ends of their names, in order; hidden ones and descriptions of data sets left out."""
    files = (file for file in sorted(root.rglob("*")) if file.suffix.lower() in suffixes and file.is_file())
    return [
        file
        for file in files
        if file.name not in _METADATA_FILES and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]


def _read_split_files(root: Path, files: list[Path], notify: Notify) -> dict[str, pd.DataFrame]:
    shards: dict[str, list[Path]] = {}
    for file in files:
        shards.setdefault(_split_name(file.relative_to(root)), []).append(file)
    for name, members in shards.items():
        if len({(file.parent, file.suffix) for file in members}) > 1:
            listed = ", ".join(str(file.relative_to(root)) for file in members[:5])
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"Several files claim to be the split {name!r}: {listed}.",
                hint="Give the folder or the file that is meant; shards of one split must share folder and format.",
            )
    frames = {name: [_read_file(file, notify) for file in members] for name, members in shards.items()}
    return {name: pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0] for name, parts in frames.items()}


def _split_name(relative: Path) -> str:
    if relative.parent.name in _SPLIT_FOLDERS:
        return relative.parent.name
    return _SHARD.sub("", relative.stem)


def _read_label_folders(root: Path, files: list[Path], notify: Notify) -> dict[str, pd.DataFrame]:
    """Files at <label>/<name>.txt or <split>/<label>/<name>.txt become the columns `text` and `label`."""
    depths = {len(file.relative_to(root).parts) for file in files}
    if depths not in ({2}, {3}):
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The .txt files of {str(root)!r} do not lie in one subfolder per label.",
            hint="Expected is <label>/<name>.txt, or <split>/<label>/<name>.txt, for all of them.",
        )
    rows: dict[str, list[tuple[str, str]]] = {}
    fallbacks = 0
    for file in files:
        *split, label, _ = file.relative_to(root).parts
        text, was_utf8 = _decode(_bytes(file))
        fallbacks += not was_utf8
        rows.setdefault(split[0] if split else ALL, []).append((text, label))
    if fallbacks:
        notify("not_utf8", f"{fallbacks} of {len(files)} files are not UTF-8 and were read as Latin-1.")
    return {name: pd.DataFrame(members, columns=["text", "label"], dtype=object) for name, members in rows.items()}


def _read_file(path: Path, notify: Notify) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{path.name!r} has no format that can be read.",
            hint=f"Formats are {', '.join(SUFFIXES)}.",
        )
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        text, was_utf8 = _decode(_bytes(path))
        if not was_utf8:
            notify("not_utf8", f"{path.name} is not UTF-8 and was read as Latin-1.")
        if suffix in (".csv", ".tsv"):
            return _read_csv(text, "\t" if suffix == ".tsv" else ",")
        return _read_json(text) if suffix == ".json" else _read_json_lines(text)
    except TaskError:
        raise
    except (ValueError, OSError, csv.Error) as error:
        # Arrow, pandas and json all raise subclasses of ValueError or OSError for content they cannot read.
        raise TaskError(FailureCode.DATA_INVALID, f"{path.name} cannot be read: {str(error).strip()[:300]}") from error


def _read_csv(text: str, delimiter: str) -> pd.DataFrame:
    if not text.strip():
        return pd.DataFrame()
    # Everything stays text: pandas would read the label `NA` as missing and `007` as 7.
    return pd.read_csv(StringIO(text), sep=delimiter, dtype=object, keep_default_na=False, na_values=[""])


def _read_json(text: str) -> pd.DataFrame:
    records = json.loads(text) if text.strip() else []
    if isinstance(records, dict) and isinstance(records.get("data"), list):
        records = records["data"]
    if not isinstance(records, list):
        raise ValueError("a .json file must hold a list of objects, or an object with such a list under `data`")
    return _frame(records)


def _read_json_lines(text: str) -> pd.DataFrame:
    records: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return _frame(records)


def _frame(records: list[Any]) -> pd.DataFrame:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is no JSON object")
    return pd.DataFrame(records, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as parquet  # Arrow takes half a second to load; most sources are no Parquet files.

    table = parquet.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    for column, names in _class_names(table.schema.metadata or {}).items():
        if column in frame.columns:
            frame[column] = [_class_name(value, names) for value in frame[column]]
    return frame


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of ClassLabel columns, which `datasets` stores in the file's metadata."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def _class_name(value: Any, names: list[str]) -> Any:
    if pd.isna(value) or not 0 <= int(value) < len(names):
        return None
    return names[int(value)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{path.name} cannot be read: {error.strerror}.") from error


def _decode(content: bytes) -> tuple[str, bool]:
    """The text, and whether it was UTF-8."""
    try:
        return content.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return content.decode("latin-1"), False


def hash_files(root: Path, files: list[Path]) -> str:
    """SHA-256 over relative names and contents, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(_bytes(file)).digest()
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()
