"""Small files that unpack to vast ones are refused before they fill memory or disk."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tasks import bounds
from tasks.bounds import check_room, read_gzip
from tasks.failures import TaskError
from tasks.formats import parquet_table
from tasks.image_data import _npz, _read_idx
from tasks.protocol import FailureCode
from tasks.reading import read_source

MIB = 1024 * 1024
LIMIT = 8 * MIB


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_free_memory_bytes", lambda: int(LIMIT / bounds.SHARE_OF_MEMORY))


@pytest.fixture
def peak() -> Iterator[list[int]]:
    """Bytes that Python held at most."""
    found: list[int] = []
    tracemalloc.start()
    yield found
    tracemalloc.stop()


def silent(code: str, text: str) -> None:
    """No warnings are looked at."""


def test_a_gzip_bomb(tmp_path: Path, peak: list[int]) -> None:
    file = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(file, "wb") as stream:
        for _ in range(256):
            stream.write(bytes(MIB))
    assert file.stat().st_size < MIB
    tracemalloc.reset_peak()
    with pytest.raises(TaskError, match="unpacks to") as caught:
        _read_idx(file)
    assert caught.value.code is FailureCode.DATA_INVALID
    assert caught.value.hint is not None
    assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT


def test_what_is_within_the_bound_is_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.gz", "wb") as stream:
        stream.write(b"words" * 1000)
    assert read_gzip(tmp_path / "x.gz") == b"words" * 1000


def test_an_npz_bomb(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((64, 1024, 1024), dtype=np.uint8), y=np.zeros(64))
    assert (tmp_path / "x.npz").stat().st_size < MIB
    with pytest.raises(TaskError, match="unpacks to 64"):
        _npz(tmp_path / "x.npz")


def test_an_npz_that_lies_about_its_size_goes_no_further(tmp_path: Path, peak: list[int]) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((64, 1024, 1024), dtype=np.uint8), y=np.zeros(64))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        (size,) = [member.file_size for member in archive.infolist() if member.filename == "x.npy"]
    content = (tmp_path / "x.npz").read_bytes()
    lie = (1000).to_bytes(4, "little")
    assert content.count(size.to_bytes(4, "little")) >= 1
    (tmp_path / "x.npz").write_bytes(content.replace(size.to_bytes(4, "little"), lie))
    tracemalloc.reset_peak()
    with pytest.raises(TaskError, match="cannot be read"):
        _npz(tmp_path / "x.npz")


def test_an_npz_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK no archive")
    with pytest.raises(TaskError, match="cannot be read"):
        _npz(tmp_path / "x.npz")


def test_a_parquet_bomb_whose_pages_repeat_one_long_value(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    codes = pyarrow.array(np.zeros(100_000, dtype=np.int32))
    column = pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array(["x" * 10_000]))
    table = pyarrow.table({"text": column.cast(pyarrow.dictionary(pyarrow.int32(), pyarrow.string()))})
    parquet.write_table(table, tmp_path / "x.parquet", store_schema=False)
    assert (tmp_path / "x.parquet").stat().st_size < MIB
    with pytest.raises(TaskError, match="unpacks to"):
        parquet_table(tmp_path / "x.parquet")


def test_a_parquet_bomb_of_compression(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    table = pyarrow.table({"text": ["y" * MIB] * 40})
    parquet.write_table(table, tmp_path / "x.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "x.parquet").stat().st_size < MIB
    with pytest.raises(TaskError, match="unpacks to 40"):
        parquet_table(tmp_path / "x.parquet")


def test_a_table_of_several_batches_is_whole(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    table = pyarrow.table({"text": [str(at) for at in range(10_000)], "label": list(range(10_000))})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=3000)
    found = parquet_table(tmp_path / "x.parquet")
    assert (len(found), found["label"]) == (10_000, list(range(10_000)))
    parquet.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    assert (len(parquet_table(tmp_path / "empty.parquet")), found.columns) == (0, ("text", "label"))


def test_a_table_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(TaskError, match=r"unpacks to 1.02e\+03 GiB"):
        read_source(tmp_path / "x.csv", silent)


def test_json_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(TaskError, match="nested too deeply"):
        read_source(tmp_path / "x.json", silent)
    (tmp_path / "y.jsonl").write_text(json.dumps({"text": "a"}) + "\n" + "[" * 200_000 + "\n")
    with pytest.raises(TaskError, match="nested too deeply"):
        read_source(tmp_path / "y.jsonl", silent)


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_download_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**10, 0, 10**9))
    check_room(tmp_path, 10**8, "s3://b/x")
    with pytest.raises(TaskError, match="s3://b/x is 954 MiB") as caught:
        check_room(tmp_path, 999_999_999, "s3://b/x")
    assert caught.value.code is FailureCode.DISK_FULL


def test_labels_are_counted_a_piece_at_a_time() -> None:
    from manager.profiling.counting_media import _values

    assert _values(io.BytesIO(bytes([1, 2, 3, 9])), 3) == {1, 2, 3}
