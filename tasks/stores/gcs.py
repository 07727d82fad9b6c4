"""Google Cloud Storage, by google-cloud-storage; credentials are the application default ones of the machine.

Files go up through a resumable session, whose protocol is published ("Performing resumable uploads" in its
documentation): chunks in order, and the store says how far it came. Objects are given the CRC32C of their content,
which the store checks; what it says to have stored is compared once more.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from tasks.stores.backend import SHA256, Digest, Facts, StoredObject, Upload
from tasks.stores.errors import CorruptError, DeniedError, NotFoundError, PassingError, StoreError
from tasks.stores.provider_sums import ProviderSum, SumKind

T = TypeVar("T")

_TIMEOUT_S = (10, 60)
"""To connect; between two packets."""
_CHUNK_GRAIN_BYTES = 256 * 1024
"""Chunks of a session must be whole multiples of it."""
_PARTS_PER_CHUNK = 8
"""One chunk is on its way at a time; of one that is cut the store keeps what came."""
_READ_BYTES = 8 * 1024 * 1024


class LostSessionError(StoreError):
    """The session cannot go on: too old, forgotten, or what it was given is not what it was promised."""


class GoogleStorage:
    """Backend of gs:// URIs; see `tasks.stores.backend.Backend`."""

    def __init__(self, uri: str, *, bucket: str, prefix: str) -> None:
        """Args:
        uri: as it is told to people.
        bucket: its name.
        prefix: in front of each key, with a slash at its end, or empty.
        """
        # Deferred: a second, and other stores do not need it.
        from google.cloud import storage

        self.uri = uri
        self._prefix = prefix
        self._client: Any = _asked(storage.Client)
        self._bucket: Any = self._client.bucket(bucket)

    def put(self, key: str, content: bytes, digest: Digest) -> None:
        """One upload of metadata and content together."""
        blob = self._new_blob(key, digest, _crc32c(content))
        _asked(
            lambda: blob.upload_from_string(
                content, content_type="application/octet-stream", retry=None, timeout=_TIMEOUT_S
            )
        )
        self._check(key, str(blob.crc32c), _crc32c(content))

    def upload(self, upload: Upload) -> None:
        """A resumable session; what an earlier process has sent of it is not sent again."""
        crc32c = _crc32c_of_file(upload)
        noted = upload.note.read(upload.identity | {"uri": self.uri})
        if noted is not None:
            try:
                self._send(upload, str(noted["session"]), crc32c)
                return
            except (LostSessionError, CorruptError):
                upload.note.clear()
        upload.retry(f"sending {upload.key}", lambda: self._send_anew(upload, crc32c))

    def facts(self, key: str) -> Facts:
        """The object's metadata."""
        blob = self._bucket.blob(self._prefix + key)
        _asked(lambda: blob.reload(retry=None, timeout=_TIMEOUT_S))
        metadata = blob.metadata or {}
        known = ProviderSum(kind=SumKind.CRC32C, value=str(blob.crc32c)) if blob.crc32c else None
        return Facts(
            size_bytes=int(blob.size),
            sha256=metadata.get(SHA256),
            version=str(blob.generation),
            provider_sum=known,
        )

    def read(self, key: str, *, start: int, length: int, version: str) -> bytes:
        """One ranged download of a generation."""
        if length == 0:
            return b""
        blob = self._bucket.blob(self._prefix + key)
        content: bytes = _asked(
            lambda: blob.download_as_bytes(
                start=start,
                end=start + length - 1,
                if_generation_match=int(version) if version else None,
                raw_download=True,
                # A range has no checksum of its own; the whole is verified by whoever put it together.
                checksum=None,
                retry=None,
                timeout=_TIMEOUT_S,
            )
        )
        if len(content) != length:
            raise PassingError(f"{len(content)} of {length} bytes of {key} came")
        return content

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Pages as the client asks for them."""
        found = self._client.list_blobs(self._bucket, prefix=self._prefix + prefix, retry=None, timeout=_TIMEOUT_S)
        pages = iter(found.pages)
        while (page := _asked(lambda: next(pages, None))) is not None:
            for blob in page:
                yield StoredObject(
                    key=str(blob.name).removeprefix(self._prefix),
                    size_bytes=int(blob.size),
                    version=str(blob.generation or blob.etag),
                )

    def delete(self, keys: Sequence[str]) -> None:
        """One request each."""
        for key in keys:
            delete = partial(self._bucket.blob(self._prefix + key).delete, retry=None, timeout=_TIMEOUT_S)
            with suppress(NotFoundError):
                _asked(delete)

    def abandon(self, prefix: str) -> int:
        """Nothing: sessions that are never completed are not billed, and end by themselves after a week."""
        return 0

    def _send_anew(self, upload: Upload, crc32c: str) -> None:
        blob = self._new_blob(upload.key, upload.digest, crc32c)
        session = str(
            _asked(
                lambda: blob.create_resumable_upload_session(
                    content_type="application/octet-stream",
                    size=upload.digest.size_bytes,
                    checksum=None,
                    retry=None,
                    timeout=_TIMEOUT_S,
                )
            )
        )
        upload.note.write(upload.identity | {"uri": self.uri, "session": session})
        try:
            self._send(upload, session, crc32c)
        except LostSessionError as error:
            # The answer to its last chunk may have been lost on its way; then the object is there.
            if self._is_stored(upload):
                upload.note.clear()
                upload.on_bytes(upload.digest.size_bytes)
                return
            raise PassingError(error.message) from error

    def _is_stored(self, upload: Upload) -> bool:
        try:
            return self.facts(upload.key).sha256 == upload.digest.sha256
        except NotFoundError:
            return False

    def _send(self, upload: Upload, session: str, crc32c: str) -> None:
        size = upload.digest.size_bytes
        grains = max(1, _PARTS_PER_CHUNK * upload.part_bytes // _CHUNK_GRAIN_BYTES)
        chunk_bytes = grains * _CHUNK_GRAIN_BYTES
        sent, stored = upload.retry(f"asking for {upload.key}", lambda: _put(session, b"", f"bytes */{size}"))
        upload.on_bytes(size if stored else sent)
        with upload.source.open("rb") as file:
            while stored is None:
                content = os.pread(file.fileno(), chunk_bytes, sent)

                def send(at: int = sent, content: bytes = content) -> tuple[int, dict[str, Any] | None]:
                    return self._send_chunk(session, at, content, size)

                before = sent
                sent, stored = upload.retry(f"sending {upload.key} from byte {sent}", send)
                upload.on_bytes((size if stored else sent) - before)
        try:
            self._check(upload.key, str(stored.get("crc32c")), crc32c)
        finally:
            upload.note.clear()

    def _send_chunk(self, session: str, at: int, content: bytes, size: int) -> tuple[int, dict[str, Any] | None]:
        """Send a chunk; after a failure it is the store that says how much of it has come."""
        try:
            return _put(session, content, f"bytes {at}-{at + len(content) - 1}/{size}")
        except PassingError:
            sent, stored = _put(session, b"", f"bytes */{size}")
            if stored is not None or sent > at:
                return sent, stored
            raise

    def _check(self, key: str, stored: str, sent: str) -> None:
        if stored != sent:
            self.delete([key])
            raise CorruptError(f"{key} arrived as something else")

    def _new_blob(self, key: str, digest: Digest, crc32c: str) -> Any:
        blob = self._bucket.blob(self._prefix + key)
        blob.metadata = {SHA256: digest.sha256}
        blob.crc32c = crc32c
        return blob


def _put(session: str, content: bytes, content_range: str) -> tuple[int, dict[str, Any] | None]:
    """One request to a session: bytes that the store has, and the object where it is complete."""
    import requests  # Deferred: comes with google-cloud-storage.

    # The session's address is the credential.
    answer = _asked(
        lambda: requests.put(session, data=content, headers={"Content-Range": content_range}, timeout=_TIMEOUT_S)
    )
    if answer.status_code == 308:
        last = answer.headers.get("Range", "").rpartition("-")[2]
        # It keeps whole grains; what is less than one is as good as nothing.
        return (int(last) + 1 if last else 0) // _CHUNK_GRAIN_BYTES * _CHUNK_GRAIN_BYTES, None
    if answer.status_code in (200, 201):
        return 0, _json(answer)
    text = f"Google Cloud Storage answered {answer.status_code}: {answer.text[:200]}"
    if answer.status_code in (400, 404, 410):
        raise LostSessionError(text)
    raise _meaning(answer.status_code, text)


def _json(answer: Any) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise PassingError("the answer to an upload was cut") from error
    return found if isinstance(found, dict) else {}


def _asked(call: Callable[[], T]) -> T:
    """The answer to one request; what the client raises as what it means."""
    # Deferred as the client is.
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from urllib3.exceptions import HTTPError

    passing = (requests.exceptions.RequestException, HTTPError, auth.TransportError, ConnectionError, TimeoutError)
    try:
        return call()
    except exceptions.GoogleAPICallError as error:
        raise _meaning(int(error.code or 0), f"Google Cloud Storage answered: {error.message}") from error
    except InvalidResponse as error:
        raise _meaning(int(error.response.status_code), f"Google Cloud Storage answered: {error}") from error
    except DataCorruption as error:
        raise CorruptError(str(error)) from error
    except passing as error:
        raise PassingError(str(error)) from error
    except auth.GoogleAuthError as error:
        raise DeniedError(
            f"no Google credentials: {error}",
            hint="Give the machine a service account, or run `gcloud auth application-default login`.",
        ) from error
    except (exceptions.GoogleAPIError, OSError, ValueError) as error:
        raise StoreError(f"Google Cloud Storage cannot be asked: {error}") from error


def _meaning(status: int, text: str) -> StoreError:
    if status in (408, 429) or status >= 500:
        return PassingError(text)
    if status == 412:
        return StoreError("the object was replaced while it was read")
    if status == 404:
        return NotFoundError(text)
    if status in (401, 403):
        return DeniedError(text, hint="The credentials need to list, read, write and delete in this bucket.")
    return StoreError(text)


def _crc32c(content: bytes) -> str:
    import google_crc32c  # Deferred: comes with google-cloud-storage.

    checksum: Any = google_crc32c.Checksum(content)  # type: ignore[no-untyped-call]
    return base64.b64encode(checksum.digest()).decode("ascii")


def _crc32c_of_file(upload: Upload) -> str:
    import google_crc32c  # As above.

    checksum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with upload.source.open("rb") as file:
        while content := file.read(_READ_BYTES):
            checksum.update(content)
    return base64.b64encode(checksum.digest()).decode("ascii")
