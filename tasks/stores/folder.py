"""A folder as a store: a disk that outlives the machine (NFS, a mounted bucket, a volume), and tests.

Checksums lie beside the files, in hidden ones; hidden names are in no listing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.stores.backend import Digest, Facts, StoredObject, Upload
from tasks.stores.errors import CorruptError, DeniedError, NotFoundError, PassingError, StoreError


class Folder:
    """Backend of file:// URIs; see `tasks.stores.backend.Backend`."""

    def __init__(self, uri: str, *, root: Path) -> None:
        """`root` is created with the first object."""
        self.uri = uri
        self._root = root

    def put(self, key: str, content: bytes, digest: Digest) -> None:
        """Written aside, then renamed."""
        target = self._file(key)
        aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
        with _Explained(key):
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._stand(aside, target, digest)

    def upload(self, upload: Upload) -> None:
        """Appended to a file aside, on which a later process goes on; read back, then renamed."""
        upload.retry(f"storing {upload.key}", lambda: self._copy(upload))

    def facts(self, key: str) -> Facts:
        """Of the file and the one that holds its checksum."""
        target = self._file(key)
        with _Explained(key):
            state = target.stat()
            checksum = None
            with suppress(FileNotFoundError):
                checksum = _checksum_file(target).read_text(encoding="ascii").strip()
        return Facts(size_bytes=state.st_size, sha256=checksum, version=f"{state.st_ino}-{state.st_mtime_ns}")

    def read(self, key: str, *, start: int, length: int, version: str) -> bytes:
        """One read."""
        with _Explained(key), self._file(key).open("rb") as file:
            content = os.pread(file.fileno(), length, start)
        if len(content) != length:
            raise PassingError(f"{len(content)} of {length} bytes of {key} came")
        return content

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All files below the root that are not hidden."""
        for folder, names, files in os.walk(self._root):
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                file = Path(folder) / name
                key = file.relative_to(self._root).as_posix()
                if not name.startswith(".") and key.startswith(prefix):
                    # One that is deleted meanwhile is not there.
                    with suppress(FileNotFoundError):
                        state = file.stat()
                        version = f"{state.st_ino}-{state.st_mtime_ns}"
                        yield StoredObject(key=key, size_bytes=state.st_size, version=version)

    def delete(self, keys: Sequence[str]) -> None:
        """The files, their checksums and the folders that they leave empty."""
        for key in keys:
            target = self._file(key)
            with _Explained(key):
                target.unlink(missing_ok=True)
                _checksum_file(target).unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self._root or not folder.is_relative_to(self._root):
                    break
                with suppress(OSError):
                    folder.rmdir()

    def abandon(self, prefix: str) -> int:
        """Remove files that were never finished."""
        found = [file for file in self._root.rglob(".*.partial") if self._key(file).startswith(prefix)]
        for file in found:
            file.unlink(missing_ok=True)
        return len(found)

    def _copy(self, upload: Upload) -> None:
        target = self._file(upload.key)
        aside = target.with_name(f".{target.name}.{upload.digest.sha256[:16]}.partial")
        with _Explained(upload.key):
            target.parent.mkdir(parents=True, exist_ok=True)
            with upload.source.open("rb") as source, aside.open("ab") as file:
                at = min(file.tell(), upload.digest.size_bytes)
                file.truncate(at)
                upload.on_bytes(at)
                source.seek(at)
                while content := source.read(upload.part_bytes):
                    file.write(content)
                    upload.on_bytes(len(content))
                file.flush()
                os.fsync(file.fileno())
            with aside.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != upload.digest.sha256:
                    aside.unlink()
                    raise CorruptError(f"{upload.key} arrived as something else")
            self._stand(aside, target, upload.digest)

    def _stand(self, aside: Path, target: Path, digest: Digest) -> None:
        checksum = _checksum_file(target)
        checksum.write_text(digest.sha256 + "\n", encoding="ascii")
        aside.replace(target)

    def _key(self, file: Path) -> str:
        return (file.parent / file.name.removeprefix(".")).relative_to(self._root).as_posix()

    def _file(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
            raise StoreError(f"{key!r} is no key")
        return self._root.joinpath(*parts)


class _Explained:
    """What the system raises as what it means."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(f"there is no {self._key}") from error
        if isinstance(error, PermissionError):
            raise DeniedError(f"{self._key}: {error.strerror}", hint="The folder must be writable.") from error
        if isinstance(error, OSError):
            raise PassingError(f"{self._key}: {error.strerror or error}") from error


def _checksum_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.sha256")
