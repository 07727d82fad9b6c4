"""One store: files and small objects up and down, retried, verified, gone on with after an interruption.

What stands under its final name here is what its checksum says, whatever came over the wire; and an object counts as
stored when the store has confirmed it whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tasks.stores.backend import SHA256, Backend, Digest, Facts, StoredObject, Upload
from tasks.stores.errors import CorruptError, NotFoundError, StoreError
from tasks.stores.notes import Note, download_note, partial_file, upload_note
from tasks.stores.provider_sums import is_content_of
from tasks.stores.retry import Patience, Retrying

PART_BYTES = 16 * 1024 * 1024
THREADS = 4
_MOST_DOWNLOAD_PART_BYTES = 64 * 1024 * 1024
_LEAST_DOWNLOAD_PARTS = 16
"""Of large objects: each request of a range costs the store a look-up."""
_MOST_SMALL_BYTES = 256 * 1024 * 1024
"""Of what is read into memory: lists of files, parts of event streams."""
OnProgress = Callable[[int, int], None]
"""Bytes so far, bytes of all."""


class Store:
    """Files and objects under one URI; `opening.open_store` makes it. Threads may share it."""

    def __init__(self, backend: Backend, *, patience: Patience, part_bytes: int, threads: int) -> None:
        self._backend = backend
        self._part_bytes = part_bytes
        self._threads = threads
        self._retry = Retrying(patience)

    @property
    def uri(self) -> str:
        """Of the store, without a slash at its end."""
        return self._backend.uri

    @property
    def retries(self) -> int:
        """Requests that failed and were made again."""
        return self._retry.retries

    def cancel(self) -> None:
        """Retry nothing from now on: what is under way ends with its next failure."""
        self._retry.cancel()

    def put_file(
        self, path: Path, key: str, on_progress: OnProgress | None = None, *, note: Note | None = None
    ) -> Digest:
        """Store a file, unless the very content is there; an interrupted upload of it goes on where it was.

        Args:
            path: of the file.
            key: of the object.
            on_progress: told from several threads, one at a time.
            note: where an interrupted upload is noted; None: beside the file.

        Raises:
            StoreError: it is not stored; what was sent is kept for the next call.
            OSError: the file cannot be read.
        """
        digest = digest_of(path)
        progress = _Progress(digest.size_bytes, on_progress)
        if self._has(key, digest):
            progress.add(digest.size_bytes)
        elif digest.size_bytes <= self._part_bytes:
            content = path.read_bytes()
            self._retry(f"storing {key}", lambda: self._backend.put(key, content, digest))
            progress.add(digest.size_bytes)
        else:
            upload = Upload(
                source=path,
                key=key,
                digest=digest,
                note=note or upload_note(path),
                part_bytes=self._part_bytes,
                threads=self._threads,
                retry=self._retry,
                on_bytes=progress.add,
            )
            self._backend.upload(upload)
        return digest

    def get_file(
        self,
        key: str,
        path: Path,
        *,
        sha256: str | None = None,
        on_progress: OnProgress | None = None,
        is_foreign: bool = False,
    ) -> Digest:
        """Bring an object to a file, which appears whole and verified or not at all; an interrupted one goes on.

        Args:
            key: of the object.
            path: final name; what stands there is replaced.
            sha256: what it must be; None: what its writer noted with the object.
            on_progress: told from several threads, one at a time.
            is_foreign: it may have been written by anybody: then the provider's own checksum does, and where it keeps
                none that can be computed here, the size of one version.

        Raises:
            NotFoundError: there is no such object.
            CorruptError: nobody noted a checksum, or not the one that is asked for.
            StoreError: it did not come; what came is kept for the next call.
            OSError: the file cannot be written.
        """
        facts = self._retry(f"asking for {key}", lambda: self._backend.facts(key))
        expected = sha256 or facts.sha256
        if expected is None and not is_foreign:
            raise CorruptError(f"{self.uri}/{key} has no checksum, so it cannot be verified")
        if facts.sha256 not in (None, expected):
            raise CorruptError(f"{self.uri}/{key} is not the object that is asked for: its checksum is another")
        path.parent.mkdir(parents=True, exist_ok=True)
        found = self._retry(f"reading {key}", lambda: self._download(key, path, facts, expected, on_progress))
        return Digest(size_bytes=facts.size_bytes, sha256=found)

    def read_range(self, key: str, *, start: int, length: int, version: str = "") -> bytes:
        """A stretch of an object's content, which has no checksum of its own: to look at, not to keep.

        Raises:
            NotFoundError: there is no such object.
            StoreError: it did not come.
        """
        return self._retry(
            f"reading {key} from byte {start}",
            lambda: self._backend.read(key, start=start, length=length, version=version),
        )

    def put_bytes(self, key: str, content: bytes) -> Digest:
        """Store a small object.

        Raises:
            StoreError: it is not stored.
        """
        digest = Digest(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        self._retry(f"storing {key}", lambda: self._backend.put(key, content, digest))
        return digest

    def get_bytes(self, key: str) -> bytes:
        """A small object, verified.

        Raises:
            NotFoundError: there is no such object.
            StoreError: it did not come, or is not what its checksum says.
        """
        return self._retry(f"reading {key}", lambda: self._read_whole(key))

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        """Objects whose keys begin so, by key.

        Raises:
            StoreError: the store did not answer.
        """
        found = self._retry(f"listing {prefix or 'the store'}", lambda: list(self._backend.list(prefix)))
        return tuple(sorted(found, key=lambda entry: entry.key))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is success.

        Raises:
            StoreError: some may be left.
        """
        if keys:
            self._retry(f"deleting {keys[0]}", lambda: self._backend.delete(keys))

    def abandon_uploads(self, prefix: str = "") -> int:
        """Drop uploads that nobody will complete, whose parts would be billed; how many there were.

        Raises:
            StoreError: the store did not answer.
        """
        return self._retry("asking for unfinished uploads", lambda: self._backend.abandon(prefix))

    def _has(self, key: str, digest: Digest) -> bool:
        try:
            facts = self._retry(f"asking for {key}", lambda: self._backend.facts(key))
        except NotFoundError:
            return False
        return (facts.size_bytes, facts.sha256) == (digest.size_bytes, digest.sha256)

    def _read_whole(self, key: str) -> bytes:
        facts = self._backend.facts(key)
        if facts.size_bytes > _MOST_SMALL_BYTES:
            raise StoreError(f"{self.uri}/{key} has {facts.size_bytes:,} bytes, which is no file of a run")
        content = self._backend.read(key, start=0, length=facts.size_bytes, version=facts.version)
        if facts.sha256 is None:
            raise CorruptError(f"{key} has no checksum")
        if hashlib.sha256(content).hexdigest() != facts.sha256:
            raise CorruptError(f"{key} came as something else")
        return content

    def _download(
        self, key: str, path: Path, facts: Facts, expected: str | None, on_progress: OnProgress | None
    ) -> str:
        """One download of all parts that are missing; verified, then put in place; the SHA-256."""
        note, aside = download_note(path), partial_file(path)
        part_bytes = max(self._part_bytes, min(_MOST_DOWNLOAD_PART_BYTES, facts.size_bytes // _LEAST_DOWNLOAD_PARTS))
        identity: dict[str, Any] = {"key": key, SHA256: expected or "", "version": facts.version, "part": part_bytes}
        noted = note.read(identity) if aside.is_file() else None
        progress = _Progress(facts.size_bytes, on_progress)
        parts = _Parts(note, identity, done=set(noted["done"]) if noted else set())
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, facts.size_bytes)

            def bring(at: int) -> None:
                length = min(part_bytes, facts.size_bytes - at)
                if at not in parts.done:
                    content = self._retry(
                        f"reading {key} from byte {at}",
                        lambda: self._backend.read(key, start=at, length=length, version=facts.version),
                    )
                    os.pwrite(descriptor, content, at)
                    parts.add(at)
                progress.add(length)

            with ThreadPoolExecutor(self._threads) as pool:
                futures = [pool.submit(bring, at) for at in range(0, facts.size_bytes, part_bytes)]
                try:
                    for future in futures:
                        future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        found, known = digest_of(aside).sha256, facts.provider_sum
        is_right = found == expected if expected else known is None or is_content_of(aside, known)
        if not is_right:
            # Which part is wrong nobody knows.
            note.clear()
            aside.unlink()
            raise CorruptError(f"{key} came as something else")
        aside.replace(path)
        note.clear()
        return found


class _Progress:
    def __init__(self, size_bytes: int, tell: OnProgress | None) -> None:
        self._size_bytes = size_bytes
        self._tell = tell
        self._done_bytes = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done_bytes += count
            if self._tell is not None:
                self._tell(min(self._done_bytes, self._size_bytes), self._size_bytes)


class _Parts:
    """Which parts of a download are on the disk."""

    def __init__(self, note: Note, identity: dict[str, Any], *, done: set[int]) -> None:
        self.done = done
        self._note = note
        self._identity = identity
        self._lock = Lock()

    def add(self, at: int) -> None:
        with self._lock:
            self.done.add(at)
            self._note.write(self._identity | {"done": sorted(self.done)})


def digest_of(path: Path) -> Digest:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return Digest(size_bytes=os.fstat(file.fileno()).st_size, sha256=checksum)
