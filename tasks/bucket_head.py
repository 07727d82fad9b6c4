"""The first samples of a large data set in a bucket, for looking at it from afar: planning, previews, one step.

Owns which share of each file is read and by how much sizes found in it are to be scaled. Rows of text files are cut at
the end of a line, Parquet files are read by their own index; other formats have no beginning that can be read alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.bounds import in_units
from tasks.bucket_data import SCHEMES, Listed, alone, cache_folder, listing, told_as_task_error
from tasks.failures import TaskError
from tasks.job import DataChoice
from tasks.protocol import FailureCode
from tasks.reading import split_name, visible_files
from tasks.stores.backend import StoredObject
from tasks.stores.datasets import parse_staged

WHOLE_BYTES = 64 * 1024 * 1024
"""Up to this size a data set is brought whole: all of it is known then, and a run here needs it anyway."""
HEAD_BYTES = 32 * 1024 * 1024
"""Of all files together, shared out by their sizes."""
_LEAST_FILE_BYTES = 256 * 1024
_BATCH_ROWS = 256
_LINES = (".csv", ".tsv", ".jsonl", ".ndjson")
_PARQUET = ".parquet"
_SCALED = ("train_samples", "packed_sequences")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """First samples, here."""

    folder: Path
    """With files of the same names."""
    size_bytes: int
    """Of the whole data set."""
    read_bytes: int
    splits: Mapping[str, tuple[float, float]]
    """Split -> how much of it there is, how much of it is here; in bytes or rows."""

    def factor(self, names: Collection[str]) -> float:
        """How many times as many samples these splits have as are here."""
        parts = [part for name, part in self.splits.items() if name in names] or list(self.splits.values())
        return sum(whole for whole, _ in parts) / sum(here for _, here in parts)

    def scaled(self, figures: Mapping[str, Any], choice: DataChoice) -> dict[str, Any]:
        """Figures of what is here as those of the whole data set, which nobody has read: no checksum, not measured."""
        named = {share for share in (choice.validation, choice.test) if isinstance(share, str)}
        rest = {name for name in self.splits if name not in named}
        one = choice.train_split
        train = self.factor({one} if one is not None and one in self.splits else rest)
        found = dict(figures)
        for name in _SCALED:
            if found.get(name) is not None:
                found[name] = math.ceil(found[name] * train)
        for name, share in (("validation_samples", choice.validation), ("test_samples", choice.test)):
            found[name] = math.ceil(found[name] * (self.factor({share}) if isinstance(share, str) else train))
        if "label_counts" in found:
            found["label_counts"] = {label: math.ceil(count * train) for label, count in found["label_counts"].items()}
        return found | {
            "bytes": self.size_bytes,
            "sha256": None,
            "measured": False,
            "basis": f"{self.words}; {found.get('basis', '')}".rstrip("; "),
        }

    @property
    def words(self) -> str:
        """`the first 32 MiB of 4 GiB read, numbers of samples scaled from them`."""
        return (
            f"the first {in_units(self.read_bytes)} of {in_units(self.size_bytes)} read, "
            "numbers of samples scaled from them"
        )


def head_of(source: str) -> Head | None:
    """The first samples of a data set in a bucket; None: it is elsewhere, or small, or of formats to be read whole.

    Raises:
        TaskError: the bucket cannot be read, or a file of it.
    """
    if not source.startswith(SCHEMES) or parse_staged(source) is not None:
        return None
    with told_as_task_error(source):
        listed = listing(source)
        tables = _tables(listed)
        if tables is None or listed.size_bytes <= WHOLE_BYTES:
            return None
        marks = json.dumps([HEAD_BYTES, source, *((entry.key, entry.version) for entry in tables)])
        folder = cache_folder() / "heads" / hashlib.sha256(marks.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            return _read(folder, listed, tables)


def looked_at(choice: DataChoice) -> tuple[DataChoice, Head | None]:
    """The choice with the first samples in place of a large data set in a bucket, and what they are of.

    Raises:
        TaskError: as `head_of`.
    """
    head = head_of(choice.source)
    return (choice, None) if head is None else (replace(choice, source=str(head.folder), revision=None), head)


def _tables(listed: Listed) -> list[StoredObject] | None:
    """Files whose beginning can be read alone; None: there are others that matter."""
    names = {listed.name(entry): entry for entry in listed.entries}
    if any(not name.lower().endswith((*_LINES, _PARQUET, ".md", ".json")) for name in names):
        return None
    tables = [entry for name, entry in names.items() if name.lower().endswith((*_LINES, _PARQUET))]
    # A description of the data set is small; a table in JSON has to be read to its end.
    rest = listed.size_bytes - sum(entry.size_bytes for entry in tables)
    return tables if tables and rest <= _LEAST_FILE_BYTES else None


def _read(folder: Path, listed: Listed, tables: list[StoredObject]) -> Head:
    noted = folder / ".head.json"
    if not noted.exists():
        whole = sum(entry.size_bytes for entry in tables)
        splits: dict[str, tuple[float, float]] = {}
        for entry in tables:
            target = folder / listed.name(entry)
            target.parent.mkdir(parents=True, exist_ok=True)
            wanted = min(entry.size_bytes, max(_LEAST_FILE_BYTES, HEAD_BYTES * entry.size_bytes // whole))
            read = _parquet_head if target.suffix.lower() == _PARQUET else _lines_head
            has, here = read(listed, entry, target, wanted)
            name = split_name(target.relative_to(folder))
            before = splits.get(name, (0.0, 0.0))
            splits[name] = before[0] + has, before[1] + here
        aside = noted.with_name(".head.json.partial")
        aside.write_text(json.dumps(splits), encoding="utf-8")
        aside.replace(noted)
    known = {name: (float(has), float(here)) for name, (has, here) in json.loads(noted.read_text()).items()}
    files = visible_files(folder, (*_LINES, _PARQUET))
    read_bytes = sum(file.stat().st_size for file in files)
    return Head(folder=folder, size_bytes=listed.size_bytes, read_bytes=read_bytes, splits=known)


def _lines_head(listed: Listed, entry: StoredObject, target: Path, wanted: int) -> tuple[float, float]:
    content = listed.store.read_range(entry.key, start=0, length=wanted)
    if wanted < entry.size_bytes:
        content = _whole_rows(content, has_quotes=target.suffix.lower() in (".csv", ".tsv"))
        if not content:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"{entry.key} has no whole row in its first {in_units(wanted)}.",
                hint="Is each sample on a line of its own?",
            )
    target.write_bytes(content)
    return float(entry.size_bytes), float(len(content))


def _whole_rows(content: bytes, *, has_quotes: bool) -> bytes:
    """Up to the last line end that is outside of a quoted cell."""
    end = content.rfind(b"\n") + 1
    quotes = content.count(b'"', 0, end) if has_quotes else 0
    while end and quotes % 2:
        before = content.rfind(b"\n", 0, end - 1) + 1
        quotes -= content.count(b'"', before, end)
        end = before
    return content[:end]


def _parquet_head(listed: Listed, entry: StoredObject, target: Path, wanted: int) -> tuple[float, float]:
    import pyarrow  # Arrow takes longer to load than a small text file takes to read.
    import pyarrow.parquet as parquet

    try:
        with (
            parquet.ParquetFile(_Ranges(listed, entry), buffer_size=1024 * 1024, pre_buffer=False) as file,
            parquet.ParquetWriter(target, file.schema_arrow) as writer,
        ):
            rows = file.metadata.num_rows
            most = max(1, math.ceil(rows * wanted / entry.size_bytes))
            taken = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                part = batch.slice(0, most - taken)
                writer.write_batch(part)
                taken += part.num_rows
                if taken >= most:
                    break
    except (pyarrow.ArrowException, ValueError) as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{entry.key} cannot be read: {str(error).strip()[:300]}") from error
    return float(max(rows, 1)), float(max(taken, 1))


class _Ranges(io.RawIOBase):
    """An object of a bucket as a file that is read where it is asked for."""

    def __init__(self, listed: Listed, entry: StoredObject) -> None:
        super().__init__()
        self._store = listed.store
        self._key = entry.key
        self._size = entry.size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        length = left if size is None or size < 0 else min(size, left)
        content = self._store.read_range(self._key, start=self._at, length=length) if length else b""
        self._at += len(content)
        return content
