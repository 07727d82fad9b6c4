"""From a URI to a store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.stores.backend import Backend
from tasks.stores.errors import StoreError
from tasks.stores.retry import Patience
from tasks.stores.store import PART_BYTES, THREADS, Store

SCHEMES = ("s3", "gs", "file")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_FORMS = "Forms: s3://bucket/prefix, gs://bucket/prefix, file:///folder."


def open_store(
    uri: str, *, patience: Patience | None = None, part_bytes: int = PART_BYTES, threads: int = THREADS
) -> Store:
    """The store at a URI; nothing is asked of it yet.

    Args:
        uri: s3://bucket[/prefix], gs://bucket[/prefix] or file:///folder.
        patience: with which each request is tried.
        part_bytes: a transfer that is cut loses at most this much for each thread.
        threads: requests at a time, in one transfer.

    Raises:
        StoreError: the URI is none of these, the client's package is not installed, or there are no credentials.
    """
    return Store(_backend(uri), patience=patience or Patience(), part_bytes=part_bytes, threads=threads)


def check_uri(uri: str) -> None:
    """Refuse what is no URI of a store.

    Raises:
        StoreError: says what forms there are.
    """
    _parts(uri)


def _backend(uri: str) -> Backend:
    scheme, bucket, path = _parts(uri)
    told, prefix = uri.rstrip("/"), f"{path}/" if path else ""
    try:
        if scheme == "s3":
            from tasks.stores.s3 import S3  # Deferred: its client is slow to load.

            return S3(told, bucket=bucket, prefix=prefix)
        if scheme == "gs":
            from tasks.stores.gcs import GoogleStorage  # As above.

            return GoogleStorage(told, bucket=bucket, prefix=prefix)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the package {error.name!r} is not installed, which {scheme}:// needs",
            hint="pip install boto3 for s3://, google-cloud-storage for gs://.",
        ) from error
    from tasks.stores.folder import Folder  # As its siblings.

    return Folder(told, root=Path(f"/{path}"))


def _parts(uri: str) -> tuple[str, str, str]:
    """Scheme, bucket, and the path below it without slashes around it."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme not in SCHEMES or any(ord(letter) < 32 for letter in uri):
        raise StoreError(f"{uri!r} is no store", hint=_FORMS)
    if scheme == "file":
        url = urlsplit(uri)
        path = unquote(url.path)
        if url.netloc not in ("", "localhost") or not path.strip("/"):
            raise StoreError(f"{uri!r} names no folder", hint=_FORMS)
        return scheme, "", path.strip("/")
    bucket, _, path = rest.partition("/")
    path = path.strip("/")
    if not _BUCKET.fullmatch(bucket) or "//" in path or any(part in (".", "..") for part in path.split("/")):
        raise StoreError(f"{uri!r} names no bucket, or a prefix that it cannot have", hint=_FORMS)
    return scheme, bucket, path
