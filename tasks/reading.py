"""Reads a file or a folder into one table per split; knows formats and layouts, nothing of columns' meaning or labels.

Layouts of a folder: files named after their split (`train.csv`, `data/train-00000-of-00002.parquet`,
`train/0000.parquet`), or one subfolder per label with .txt files, directly or under a folder per split.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasks.bounds import check_bytes
from tasks.failures import TaskError
from tasks.formats import Table, csv_table, json_lines_table, json_table, one_below_the_other, parquet_table, table_of
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

    splits: dict[str, Table]
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


def _read_split_files(root: Path, files: list[Path], notify: Notify) -> dict[str, Table]:
    shards: dict[str, list[Path]] = {}
    for file in files:
        shards.setdefault(split_name(file.relative_to(root)), []).append(file)
    for name, members in shards.items():
        if len({(file.parent, file.suffix) for file in members}) > 1:
            listed = ", ".join(str(file.relative_to(root)) for file in members[:5])
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"Several files claim to be the split {name!r}: {listed}.",
                hint="Give the folder or the file that is meant; shards of one split must share folder and format.",
            )
    tables = {name: [_read_file(file, notify) for file in members] for name, members in shards.items()}
    return {name: one_below_the_other(parts) for name, parts in tables.items()}


def split_name(relative: Path) -> str:
    if relative.parent.name in _SPLIT_FOLDERS:
        return relative.parent.name
    return _SHARD.sub("", relative.stem)


def _read_label_folders(root: Path, files: list[Path], notify: Notify) -> dict[str, Table]:
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
    return {
        name: table_of({"text": [text for text, _ in members], "label": [label for _, label in members]})
        for name, members in rows.items()
    }


def _read_file(path: Path, notify: Notify) -> Table:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{path.name!r} has no format that can be read.",
            hint=f"Formats are {', '.join(SUFFIXES)}.",
        )
    try:
        if suffix == ".parquet":
            return parquet_table(path)
        check_bytes(path.name, path.stat().st_size)
        text, was_utf8 = _decode(_bytes(path))
        if not was_utf8:
            notify("not_utf8", f"{path.name} is not UTF-8 and was read as Latin-1.")
        if suffix in (".csv", ".tsv"):
            return csv_table(text, "\t" if suffix == ".tsv" else ",")
        return json_table(text) if suffix == ".json" else json_lines_table(text)
    except TaskError:
        raise
    except RecursionError as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{path.name} cannot be read: it is nested too deeply.") from error
    except (ValueError, OSError, csv.Error) as error:
        # Arrow and json raise subclasses of ValueError or OSError for content they cannot read.
        raise TaskError(FailureCode.DATA_INVALID, f"{path.name} cannot be read: {str(error).strip()[:300]}") from error


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
