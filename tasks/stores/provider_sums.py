"""Checksums that providers keep of objects which were written by anybody: S3's ETags, Google's CRC32C.

An ETag of S3 is the MD5 of an object that went up in one request; of one that went up in parts it is the MD5 of the
parts' MD5s, with their number behind it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_READ_BYTES = 8 * 1024 * 1024
_ETAG = re.compile(r"([0-9a-f]{32})(?:-([0-9]{1,5}))?")


class SumKind(StrEnum):
    """How a provider's checksum is computed."""

    MD5 = "MD5"
    """In hex."""
    MD5_OF_PARTS = "MD5 of parts"
    CRC32C = "CRC32C"
    """In base64, big-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSum:
    """What the content of an object adds up to, as its provider says."""

    kind: SumKind
    value: str
    part_bytes: int = 0
    """Of MD5_OF_PARTS: size of all parts but the last."""


def etag_parts(etag: str) -> int | None:
    """Parts in which an S3 object went up by its ETag; 0: one request; None: the ETag is no checksum."""
    found = _ETAG.fullmatch(etag.strip('"'))
    return None if found is None else int(found[2] or 0)


def is_content_of(path: Path, known: ProviderSum) -> bool:
    """Whether a file is what the provider says."""
    if known.kind is SumKind.MD5:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == known.value
    if known.kind is SumKind.CRC32C:
        return _crc32c_of(path) == known.value
    return _md5_of_parts(path, known.part_bytes) == known.value


def _md5_of_parts(path: Path, part_bytes: int) -> str:
    sums: list[bytes] = []
    with path.open("rb") as file:
        while True:
            part, left = hashlib.md5(usedforsecurity=False), part_bytes
            while left and (content := file.read(min(left, _READ_BYTES))):
                part.update(content)
                left -= len(content)
            if left == part_bytes:
                break
            sums.append(part.digest())
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"


def _crc32c_of(path: Path) -> str:
    import google_crc32c  # Deferred: comes with google-cloud-storage.

    checksum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while content := file.read(_READ_BYTES):
            checksum.update(content)
    return base64.b64encode(checksum.digest()).decode("ascii")
