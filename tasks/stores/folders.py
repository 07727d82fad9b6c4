"""Folders in a store: files, then `complete.json` with their names, sizes and checksums, without which nothing counts.

A folder comes back aside, file by file, each verified, and is renamed when all are there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from tasks.stores.backend import Digest
from tasks.stores.errors import CorruptError, NotFoundError
from tasks.stores.store import OnProgress, Store, digest_of

COMPLETE_FILE = "complete.json"
COMPLETE_VERSION = 1


def push_folder(
    store: Store,
    folder: Path,
    prefix: str,
    *,
    before_complete: Callable[[], None] = lambda: None,
    on_progress: OnProgress | None = None,
) -> int:
    """Store all files of a folder, then its manifest; the bytes of all.

    Args:
        store: where.
        folder: hidden files in it stay here.
        prefix: of the keys, without a slash at its end.
        before_complete: called when all files are stored, before the folder counts; raises to keep it from counting.
        on_progress: of each file.

    Raises:
        StoreError, OSError: the folder does not count as stored.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    digests = {
        name: store.put_file(folder / name, f"{prefix}/{name}", on_progress) for name in names if _is_plain_name(name)
    }
    before_complete()
    files = {name: {"size_bytes": one.size_bytes, "sha256": one.sha256} for name, one in digests.items()}
    manifest = {"schema": COMPLETE_VERSION, "files": files}
    store.put_bytes(f"{prefix}/{COMPLETE_FILE}", json.dumps(manifest, indent=1).encode())
    return sum(one.size_bytes for one in digests.values())


def complete_folders(store: Store, prefix: str) -> tuple[str, ...]:
    """Names of the folders below a prefix that count, in order.

    Raises:
        StoreError: the store did not answer.
    """
    found = (PurePosixPath(entry.key.removeprefix(f"{prefix}/")) for entry in store.list(f"{prefix}/"))
    return tuple(sorted(path.parts[0] for path in found if len(path.parts) == 2 and path.name == COMPLETE_FILE))


def read_manifest(store: Store, prefix: str) -> dict[str, Digest]:
    """Files of a folder that counts; without a prefix, of the store itself.

    Raises:
        NotFoundError: it does not count.
        CorruptError: the manifest is none.
        StoreError: the store did not answer.
    """
    content = store.get_bytes(f"{prefix}/{COMPLETE_FILE}" if prefix else COMPLETE_FILE)
    try:
        record = json.loads(content)
        files = {
            str(name): Digest(size_bytes=int(entry["size_bytes"]), sha256=str(entry["sha256"]))
            for name, entry in record["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"{prefix}/{COMPLETE_FILE} is no manifest") from error
    # A name decides where a file is written here.
    if record.get("schema") != COMPLETE_VERSION or not all(_is_plain_name(name) for name in files):
        raise CorruptError(f"{prefix}/{COMPLETE_FILE} is a manifest of another kind")
    return files


def pull_folder(store: Store, prefix: str, folder: Path, *, on_progress: OnProgress | None = None) -> int:
    """Bring a folder that counts here, in place of what is there; the bytes of all.

    Raises:
        NotFoundError: it does not count, or a file of it is gone.
        StoreError, OSError: nothing stands under its name; what came is kept for the next call.
    """
    files = read_manifest(store, prefix)
    aside = folder.with_name(f".{folder.name}.incoming")
    aside.mkdir(parents=True, exist_ok=True)
    for name, digest in files.items():
        target = aside / name
        if not (target.is_file() and digest_of(target) == digest):
            store.get_file(f"{prefix}/{name}", target, sha256=digest.sha256, on_progress=on_progress)
    for file in aside.rglob("*"):
        # Of an earlier call, when the folder in the store was another one.
        if file.is_file() and file.relative_to(aside).as_posix() not in files:
            file.unlink()
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)
    return sum(digest.size_bytes for digest in files.values())


def remove_folder(store: Store, prefix: str) -> None:
    """Remove a folder; it stops to count first.

    Raises:
        StoreError: a part of it may be left.
    """
    store.delete([f"{prefix}/{COMPLETE_FILE}"])
    store.delete([entry.key for entry in store.list(f"{prefix}/")])


def is_complete(store: Store, prefix: str) -> bool:
    """Whether a folder counts.

    Raises:
        StoreError: the store did not answer.
    """
    try:
        read_manifest(store, prefix)
    except NotFoundError:
        return False
    return True


def _is_plain_name(name: str) -> bool:
    """Relative, below its folder, and no file of a transfer."""
    parts = name.split("/")
    return all(part and not part.startswith(".") and "\\" not in part and "\0" not in part for part in parts)
