"""What a kind of store has to know: how one request is made, and what its failure means.

Nothing here retries by itself, except through the `Retrying` that an upload brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.stores.notes import Note
from tasks.stores.provider_sums import ProviderSum
from tasks.stores.retry import Retrying

SHA256 = "sha256"
"""Name of the metadata entry that holds an object's checksum, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """Size and checksum of content."""

    size_bytes: int
    sha256: str
    """In hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a store knows of an object without its content."""

    size_bytes: int
    sha256: str | None
    """That its writer gave; None: it was not written through here."""
    version: str
    """ETag, generation or the like: content of another version has another one."""
    provider_sum: ProviderSum | None = None
    """The store's own checksum; None: it keeps none that can be computed here, or its writer's is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One entry of a listing."""

    key: str
    """Relative to the store."""
    size_bytes: int
    version: str = ""
    """As in a listing, where it need not be spelt as in `Facts`; equal for equal content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way up."""

    source: Path
    key: str
    digest: Digest
    note: Note
    """Beside the source: how far an earlier process came."""
    part_bytes: int
    threads: int
    retry: Retrying
    on_bytes: Callable[[int], None]
    """Told of bytes that the store has, those of an earlier process with them; from any thread."""

    @property
    def identity(self) -> dict[str, str | int]:
        """By which a later process knows that the note is of this very upload."""
        return {"key": self.key, SHA256: self.digest.sha256, "size_bytes": self.digest.size_bytes}


class Backend(Protocol):
    """One bucket and prefix. Keys are relative to the prefix; every failure is a StoreError."""

    uri: str
    """Without a slash at its end."""

    def put(self, key: str, content: bytes, digest: Digest) -> None:
        """Store content in one request; the object is there whole or not at all."""
        ...

    def upload(self, upload: Upload) -> None:
        """Store a file in parts, going on where an earlier process ended; it is there whole or not at all."""
        ...

    def facts(self, key: str) -> Facts:
        """Size, checksum and version.

        Raises:
            NotFoundError: there is no such object.
        """
        ...

    def read(self, key: str, *, start: int, length: int, version: str) -> bytes:
        """A stretch of the content of that version; fewer bytes are a PassingError."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose keys begin so."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is success."""
        ...

    def abandon(self, prefix: str) -> int:
        """Drop uploads that were begun and never completed, which are billed in some stores; how many."""
        ...
