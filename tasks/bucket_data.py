"""Data sets in buckets, brought to this machine once: verified, into a cache by URI, gone on with where it was cut.

An object is kept while its version in the bucket (S3's ETag, Google's generation) is the same. What the object's writer
or its provider noted as its checksum is compared; several processes of one machine wait for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.bounds import check_room, in_units
from tasks.failures import TaskError
from tasks.heartbeat import HEART
from tasks.protocol import FailureCode
from tasks.stores.backend import StoredObject
from tasks.stores.datasets import parse_staged, pull_dataset
from tasks.stores.errors import CorruptError, GaveUpError, NotFoundError, StoreError
from tasks.stores.opening import open_store
from tasks.stores.retry import Patience
from tasks.stores.store import Store

PATIENCE = Patience(total_s=120.0)
SCHEMES = ("s3://", "gs://")
_FILES_AT_ONCE = 8
_TELL_EVERY_S = 10.0
_LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a URI names."""

    store: Store
    """Opened at the bucket itself."""
    key: str
    """Of the URI, without slashes around it."""
    entries: tuple[StoredObject, ...]
    """One at least."""

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(entry.size_bytes for entry in self.entries)

    def name(self, entry: StoredObject) -> str:
        """Relative to the folder of the data set.

        Raises:
            TaskError: it would lie outside of it.
        """
        relative = entry.key.rpartition("/")[2] if entry.key == self.key else entry.key[len(self.key) :].lstrip("/")
        if any(part in ("..", ".", "") for part in relative.split("/")) or "\0" in relative:
            raise TaskError(FailureCode.DATA_NOT_FOUND, f"The object key {relative!r} would lie outside its folder.")
        return relative


def is_bucket(source: str) -> bool:
    """Whether a data source is a URI of a bucket, or of data staged in a folder that machines share."""
    return source.startswith(SCHEMES) or (source.startswith("file://") and parse_staged(source) is not None)


def cache_folder() -> Path:
    """Where downloads from buckets are kept: TUNEFARE_CACHE, else under XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("TUNEFARE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "tunefare" / "data"


def from_bucket(uri: str) -> Path:
    """The file or folder that a URI names, here, verified.

    Raises:
        TaskError: data_not_found: the bucket cannot be read, or there is nothing; data_invalid: it is not what its
            checksum says.
    """
    staged = parse_staged(uri)
    with told_as_task_error(uri):
        if staged is not None:
            return _staged(uri)
        listed = listing(uri)
        folder = cache_folder() / hashlib.sha256(uri.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            files = _bring_all(uri, listed, folder)
            _remove_stale(folder, files)
    return files[0] if listed.entries[0].key == listed.key and len(files) == 1 else folder


def listing(uri: str) -> Listed:
    """The object of a URI, or all objects under it as under a folder.

    Raises:
        TaskError: data_not_found: there is none.
        StoreError: the bucket did not answer, or not to these credentials.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, path = rest.partition("/")
    key = path.strip("/")
    store = open_store(f"{scheme}://{bucket}", patience=PATIENCE)
    found = tuple(
        entry
        for entry in store.list(key)
        if not entry.key.endswith("/") and (not key or entry.key == key or entry.key.startswith(f"{key}/"))
    )
    if not found:
        raise TaskError(
            FailureCode.DATA_NOT_FOUND,
            f"There is no object {uri} and none under it.",
            hint="Check data.source: a key or a folder of keys, with upper and lower case as they are.",
        )
    return Listed(store=store, key=key, entries=found)


@contextmanager
def told_as_task_error(uri: str) -> Iterator[None]:
    """Failures of a bucket as failures of the data."""
    try:
        yield
    except StoreError as error:
        is_corrupt = isinstance(error, CorruptError)
        what = "came damaged" if is_corrupt else "cannot be read"
        usual = "Look at the network." if isinstance(error, GaveUpError) else "Check bucket, key and credentials."
        raise TaskError(
            FailureCode.DATA_INVALID if is_corrupt else FailureCode.DATA_NOT_FOUND,
            f"{uri} {what}: {error.message}",
            hint=error.hint or ("Store it again." if is_corrupt else usual),
        ) from error


def _staged(uri: str) -> Path:
    staged = parse_staged(uri)
    assert staged is not None, "the caller has looked"
    folder = cache_folder() / "staged" / staged.sha256
    done = folder / ".complete"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if not done.exists():
            store = open_store(staged.folder, patience=PATIENCE)
            try:
                pull_dataset(store, staged.sha256, folder, on_progress=_Teller(uri))
            except NotFoundError as error:
                raise NotFoundError(
                    "it is not staged there, or not to its end", hint="Launch again: what is missing is sent."
                ) from error
            done.touch()
    return folder if staged.file is None else folder / staged.file


def _bring_all(uri: str, listed: Listed, folder: Path) -> list[Path]:
    """Every object as a file, in the order of the listing."""
    wanted = [(entry, folder / listed.name(entry)) for entry in listed.entries]
    missing = [(entry, target) for entry, target in wanted if not _is_there(entry, target)]
    tell = _Teller(uri)
    done: dict[str, int] = {}
    of_bytes = sum(entry.size_bytes for entry, _ in missing)
    check_room(folder, of_bytes, uri)

    def bring(entry: StoredObject, target: Path) -> None:
        def hear(done_bytes: int, _: int) -> None:
            done[entry.key] = done_bytes
            tell(sum(done.copy().values()), of_bytes)

        _marker(target).unlink(missing_ok=True)
        listed.store.get_file(entry.key, target, on_progress=hear, is_foreign=True)
        _marker(target).write_text(entry.version, encoding="utf-8")

    # Of many small files most of the time is the way to the bucket and back.
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="data") as pool:
        futures = [pool.submit(bring, entry, target) for entry, target in missing]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [target for _, target in wanted]


def _is_there(entry: StoredObject, target: Path) -> bool:
    try:
        is_same = _marker(target).read_text(encoding="utf-8") == entry.version
        return is_same and target.stat().st_size == entry.size_bytes
    except OSError:
        return False


def _marker(target: Path) -> Path:
    return target.with_name(f".{target.name}.etag")


def _remove_stale(folder: Path, files: list[Path]) -> None:
    """Objects that are gone from the bucket must not be read from the cache."""
    wanted = set(files)
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.startswith(".") and file not in wanted:
            file.unlink()
            _marker(file).unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process of this machine at a time; the others find what it brought."""
    with (folder / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Whoever has it makes progress, or ends by the limits of its requests.
                HEART.progress()
                time.sleep(_LOCK_POLL_S)
        yield


class _Teller:
    """Says on standard error how far a download is, now and then; each part is a sign of life too."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._told_s = time.monotonic()

    def __call__(self, done_bytes: int, of_bytes: int) -> None:
        HEART.progress()
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            sys.stderr.write(f"data: {in_units(done_bytes)} of {in_units(of_bytes)} from {self._uri}\n")
            sys.stderr.flush()
