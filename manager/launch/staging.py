"""Local data sets on their way to machines by a bucket: once by content, whatever run or cloud reads them.

Owns which files of a local source travel, under which names, and which checksum they have; layout and transfer are
`tasks.stores.datasets`. Without a bucket data travel with each launch (`manager.launch.sky_upload`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.render import data_file_name
from manager.launch.sky_upload import local_sources, plain_files
from tasks.job import Job
from tasks.stores.backend import Digest
from tasks.stores.datasets import content_sha256, digests_of, push_dataset, staged_uri
from tasks.stores.errors import StoreError
from tasks.stores.opening import open_store
from tasks.stores.store import OnProgress

_DIGESTS_FILE = "digests.json"
_MOST_KEPT = 100_000
"""Files whose checksums are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalData:
    """A data set on this machine, as it would be staged."""

    files: Mapping[str, Path]
    """By name in the data set."""
    digests: Mapping[str, Digest]
    file: str | None
    """Name of the only file; None: a folder."""

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(one.size_bytes for one in self.digests.values())

    @property
    def sha256(self) -> str:
        """Of names and contents."""
        return content_sha256(self.digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A data set in a bucket."""

    uri: str
    """What machines read."""
    files: int
    size_bytes: int
    sent_bytes: int
    """0: it was there."""


def local_data(job: Job, *, state_dir: Path) -> LocalData | None:
    """The job's data set with its checksums; None: it is not on this machine.

    Args:
        job: as it would be launched.
        state_dir: folder that remembers checksums of files by size and time of change; created where missing.

    Raises:
        EngineError: a file cannot be read, or there is none.
    """
    local = local_sources(job)
    try:
        if local.data_file is not None:
            file = data_file_name(local.data_file)
            return _with_digests({file: local.data_file.resolve()}, file, state_dir)
        if local.data_folder is not None:
            files = {
                name.as_posix(): place
                for place, name in plain_files(local.data_folder)
                if not any(part.startswith(".") or "\\" in part for part in name.parts)
            }
            if not files:
                raise EngineError(f"the folder {local.data_folder} holds no files", hint="check data.source")
            return _with_digests(files, None, state_dir)
    except OSError as error:
        raise EngineError(f"the data cannot be read: {error}", hint="Check data.source.") from error
    return None


def stage(data: LocalData, bucket: str, *, state_dir: Path, on_progress: OnProgress | None = None) -> Staged:
    """Have a data set in a bucket; what is there, of whichever run, is not sent again.

    Args:
        data: of `local_data`.
        bucket: s3://bucket[/prefix], gs://... or file:///folder.
        state_dir: folder for the state of interrupted uploads; created where missing.
        on_progress: bytes of all files together; told from several threads, one at a time.

    Raises:
        EngineError: it is not there; what was sent is kept for the next call.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = open_store(staged_uri(bucket, data.sha256, file=None))
        pushed = push_dataset(store, data.files, data.digests, notes=state_dir, on_progress=on_progress)
    except (StoreError, OSError) as error:
        hint = error.hint if isinstance(error, StoreError) else None
        raise EngineError(
            f"the data cannot be staged in {bucket}: {error}",
            hint=hint or "What was sent is kept; launch again when the bucket answers.",
        ) from error
    uri = staged_uri(bucket, data.sha256, file=data.file)
    return Staged(uri=uri, files=pushed.files, size_bytes=pushed.size_bytes, sent_bytes=pushed.sent_bytes)


def with_staged(job: Job, staged: Staged) -> Job:
    """The job with the staged data set as its source."""
    return replace(job, data=replace(job.data, source=staged.uri, revision=None))


def _with_digests(files: Mapping[str, Path], file: str | None, state_dir: Path) -> LocalData:
    """Checksums, of files that have not changed from memory."""
    known = _read_digests(state_dir / _DIGESTS_FILE)
    marks = {name: _mark(place) for name, place in files.items()}
    new = {name: place for name, place in files.items() if marks[name] not in known}
    fresh = digests_of(new)
    digests = {name: fresh[name] if name in fresh else known[marks[name]] for name in files}
    if fresh:
        # Those of this data set last, so that they are the last to be forgotten.
        rest = {mark: digest for mark, digest in known.items() if mark not in marks.values()}
        _keep_digests(state_dir / _DIGESTS_FILE, {**rest, **{marks[name]: digests[name] for name in files}})
    return LocalData(files=files, digests=digests, file=file)


def _mark(place: Path) -> str:
    state = place.stat()
    return f"{place} {state.st_ino} {state.st_size} {state.st_mtime_ns}"


def _read_digests(file: Path) -> dict[str, Digest]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {
            mark: Digest(size_bytes=int(one["size_bytes"]), sha256=str(one["sha256"])) for mark, one in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep_digests(file: Path, digests: dict[str, Digest]) -> None:
    kept = dict(list(digests.items())[-_MOST_KEPT:])
    # What cannot be remembered is computed again.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        aside.write_text(json.dumps({mark: asdict(one) for mark, one in kept.items()}), encoding="utf-8")
        aside.replace(file)
