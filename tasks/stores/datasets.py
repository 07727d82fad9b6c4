"""Data sets staged in a bucket: each once, under the checksum of its content, for all runs and machines that read it.

Layout: `<bucket>/data/<sha256>/<file>` and `complete.json`, written last (`tasks.stores.folders`). The checksum is of
names and contents together, so that a URI says what has to come, whoever may write to the bucket.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tasks.stores.backend import Digest
from tasks.stores.errors import CorruptError, NotFoundError
from tasks.stores.folders import COMPLETE_FILE, COMPLETE_VERSION, read_manifest
from tasks.stores.notes import Note
from tasks.stores.store import OnProgress, Store, digest_of

DATA_PREFIX = "data"
"""In the bucket, beside the folders of runs: no id of a run is this short."""
_STAGED = re.compile(r"(?P<bucket>(?:s3|gs|file)://.+)/data/(?P<sha256>[0-9a-f]{64})(?:/(?P<file>[^/]+))?")
_FILES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedUri:
    """What the URI of a staged data set says."""

    bucket: str
    """With its prefix, without `/data/...`."""
    sha256: str
    """Of the content, as `content_sha256` computes it."""
    file: str | None
    """The only file, where a file was staged and no folder."""

    @property
    def folder(self) -> str:
        """Of the data set in the bucket."""
        return f"{self.bucket}/{DATA_PREFIX}/{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What it took to have a data set in a bucket."""

    files: int
    size_bytes: int
    sent_bytes: int
    """Of files that were not there; 0: all was staged before."""


def parse_staged(uri: str) -> StagedUri | None:
    """None: no URI of a staged data set."""
    found = _STAGED.fullmatch(uri)
    return None if found is None else StagedUri(bucket=found["bucket"], sha256=found["sha256"], file=found["file"])


def staged_uri(bucket: str, sha256: str, *, file: str | None) -> str:
    """The URI of a data set in a bucket."""
    folder = f"{bucket.rstrip('/')}/{DATA_PREFIX}/{sha256}"
    return folder if file is None else f"{folder}/{file}"


def content_sha256(digests: Mapping[str, Digest]) -> str:
    """Of names and contents, in order of the names."""
    whole = hashlib.sha256()
    for name in sorted(digests):
        whole.update(f"{name}\0{digests[name].sha256}\n".encode())
    return whole.hexdigest()


def digests_of(files: Mapping[str, Path], on_file: Callable[[], None] = lambda: None) -> dict[str, Digest]:
    """Sizes and checksums of files by their names in the data set.

    Raises:
        OSError: one cannot be read.
    """
    found: dict[str, Digest] = {}
    for name in sorted(files):
        found[name] = digest_of(files[name])
        on_file()
    return found


def push_dataset(
    store: Store,
    files: Mapping[str, Path],
    digests: Mapping[str, Digest],
    *,
    notes: Path,
    on_progress: OnProgress | None = None,
) -> Pushed:
    """Have a data set in its folder of the bucket: what is there is not sent again, also of an interrupted call.

    Args:
        store: opened at the folder, which is named after the content.
        files: by their names there; plain relative ones.
        digests: of the files, as the folder's name was computed from them.
        notes: existing folder for the state of interrupted uploads.
        on_progress: of all files together; from any thread, one at a time.

    Raises:
        CorruptError: a file is not what it was when its checksum was computed.
        StoreError: it is not staged; what was sent is kept for the next call.
        OSError: a file cannot be read.
    """
    there = {entry.key: entry.size_bytes for entry in store.list()}
    size_bytes = sum(one.size_bytes for one in digests.values())
    missing = [name for name in sorted(files) if there.get(name) != digests[name].size_bytes]
    if not missing and COMPLETE_FILE in there and dict(_manifest(store) or {}) == dict(digests):
        return Pushed(files=len(files), size_bytes=size_bytes, sent_bytes=0)
    progress = _Together(size_bytes, on_progress)

    def put(name: str) -> None:
        note = Note(notes / f"{hashlib.sha256(f'{store.uri}/{name}'.encode()).hexdigest()[:32]}.json")
        digest = store.put_file(files[name], name, progress.of(name), note=note)
        if digest != digests[name]:
            store.delete([name])
            raise CorruptError(f"{files[name]} changed while it was staged", hint="Launch again when it is at rest.")
        progress.of(name)(digest.size_bytes, digest.size_bytes)

    # Of many small files most of the time is the way to the bucket and back.
    _each(put, sorted(files))
    written = {name: {"size_bytes": one.size_bytes, "sha256": one.sha256} for name, one in digests.items()}
    store.put_bytes(COMPLETE_FILE, json.dumps({"schema": COMPLETE_VERSION, "files": written}, indent=1).encode())
    return Pushed(files=len(files), size_bytes=size_bytes, sent_bytes=sum(digests[name].size_bytes for name in missing))


def pull_dataset(store: Store, sha256: str, folder: Path, *, on_progress: OnProgress | None = None) -> int:
    """Bring a staged data set to a folder, each file verified, all of them together what the name promises; its bytes.

    Args:
        store: opened at the data set's folder.
        sha256: of the content.
        folder: what of it is there already, and right, stays.
        on_progress: of all files together; from any thread, one at a time.

    Raises:
        NotFoundError: it is not staged, or not to its end.
        CorruptError: it is not the data set of that name.
        StoreError, OSError: it did not come; what came is kept for the next call.
    """
    digests = read_manifest(store, "")
    if content_sha256(digests) != sha256:
        raise CorruptError(f"{store.uri} is not the data set that it is named after")
    progress = _Together(sum(one.size_bytes for one in digests.values()), on_progress)

    def get(name: str) -> None:
        target, digest = folder / name, digests[name]
        if not (target.is_file() and digest_of(target) == digest):
            store.get_file(name, target, sha256=digest.sha256, on_progress=progress.of(name))
        progress.of(name)(digest.size_bytes, digest.size_bytes)

    _each(get, sorted(digests))
    return sum(one.size_bytes for one in digests.values())


def _manifest(store: Store) -> dict[str, Digest] | None:
    try:
        return read_manifest(store, "")
    except (NotFoundError, CorruptError):
        return None


def _each(work: Callable[[str], None], names: Iterable[str]) -> None:
    """Several at a time; the first failure ends what has not begun."""
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="data") as pool:
        futures = [pool.submit(work, name) for name in names]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Together:
    """Progress of many files as one."""

    def __init__(self, size_bytes: int, tell: OnProgress | None) -> None:
        self._size_bytes = size_bytes
        self._tell = tell
        self._done: dict[str, int] = {}
        self._sum = 0
        self._lock = threading.Lock()

    def of(self, name: str) -> OnProgress:
        """What hears of one file."""

        def hear(done_bytes: int, of_bytes: int) -> None:
            with self._lock:
                self._sum += done_bytes - self._done.get(name, 0)
                self._done[name] = done_bytes
                if self._tell is not None:
                    self._tell(self._sum, self._size_bytes)

        return hear
