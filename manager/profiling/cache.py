"""Answers of the measuring worker, kept by what they depend on: the request, the tokenizer's files, the data's files.

A local file is taken for unchanged while its size and its time of change (in nanoseconds) are. Remote data has no such
mark: its answers are used for a day. An answer that cannot be read is measured again, and one that cannot be written is
simply not kept, since a plan does not depend on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manager.profiling.kept import keep, read_kept
from manager.profiling.worker import MEASURE_VERSION

Json = dict[str, Any]

_KEY_LENGTH = 24
_REMOTE_LIFETIME_S = 86_400.0
_TOKENIZER_FILES = (
    *("config.json", "tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "*.model", "added_*", "*.jinja"),
)
_MOST_FILES = 10_000


def measurement_key(request: Json, *, model_folder: Path | None) -> str:
    """A name for the answer: equal for equal requests on unchanged files.

    Local data is marked by the first 10,000 files of its folder; remote data by its address alone.
    """
    data = Path(request["data"]["source"]).expanduser()
    local = data.exists()
    content = {
        "version": MEASURE_VERSION,
        "request": request,
        "data": [str(data.resolve()), *_marks(_files_of(data), data)] if local else None,
        "tokenizer": [] if model_folder is None else list(_marks(_tokenizer_files(model_folder), model_folder)),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return f"{'local' if local else 'remote'}-{digest[:_KEY_LENGTH]}"


def load_answer(cache_dir: Path, key: str) -> Json | None:
    """An earlier answer; None when there is none that can be used."""
    file = _file(cache_dir, key)
    with contextlib.suppress(OSError):
        if key.startswith("remote-") and time.time() - file.stat().st_mtime > _REMOTE_LIFETIME_S:
            return None
    answer = read_kept(file)
    return answer if answer is not None and answer.get("schema") == MEASURE_VERSION else None


def store_answer(cache_dir: Path, key: str, answer: Json) -> None:
    """Keep an answer."""
    keep(_file(cache_dir, key), answer)


def _file(cache_dir: Path, key: str) -> Path:
    return cache_dir / f"measure-{key}.json"


def _files_of(data: Path) -> Iterator[Path]:
    if data.is_file():
        yield data
        return
    found = sorted(path for path in data.rglob("*") if path.is_file())
    yield from found[:_MOST_FILES]


def _tokenizer_files(folder: Path) -> Iterator[Path]:
    yield from sorted({path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()})


def _marks(files: Iterator[Path], base: Path) -> Iterator[tuple[str, int, int]]:
    for file in files:
        status = file.stat()
        yield os.path.relpath(file, base), status.st_size, status.st_mtime_ns
