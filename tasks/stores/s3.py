"""S3 and what speaks its protocol, by boto3; addresses and credentials are those of any AWS program.

Each request carries the MD5 of its body: S3 refuses what arrives otherwise, and the ETag that it answers with is
compared, because some stores of the same protocol do not look.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from tasks.stores.backend import SHA256, Digest, Facts, StoredObject, Upload
from tasks.stores.errors import CorruptError, DeniedError, NotFoundError, PassingError, StoreError
from tasks.stores.provider_sums import ProviderSum, SumKind, etag_parts

T = TypeVar("T")

_MOST_PARTS = 10_000
_PASSING = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException"}
_PASSING |= {"ExpiredToken", "RequestExpired", "TokenRefreshRequired", "OperationAborted", "TooManyRequests"}
_SPOILT = {"BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}


class LostUploadError(StoreError):
    """The store knows the upload no more: it was completed, abandoned or too old."""


class S3:
    """Backend of s3:// URIs; see `tasks.stores.backend.Backend`."""

    def __init__(self, uri: str, *, bucket: str, prefix: str) -> None:
        """Args:
        uri: as it is told to people.
        bucket: its name.
        prefix: in front of each key, with a slash at its end, or empty.
        """
        # Deferred: half a second, and other stores do not need it.
        import boto3
        from botocore.config import Config

        self.uri = uri
        self._bucket = bucket
        self._prefix = prefix
        # Retries are ours alone: theirs would multiply with them. A session of its own, for threads share no default.
        settings = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=16,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # The MD5 says what the body is; over https boto3 does without this second hash by itself.
            s3={"payload_signing_enabled": False},
        )
        self._client: Any = _asked(lambda: boto3.session.Session().client("s3", config=settings))

    def put(self, key: str, content: bytes, digest: Digest) -> None:
        """One PutObject."""
        md5 = hashlib.md5(content, usedforsecurity=False)
        answer = self._call(
            "put_object",
            Key=self._prefix + key,
            Body=content,
            ContentMD5=_base64(md5),
            Metadata={SHA256: digest.sha256},
        )
        _check_tag(answer, md5.hexdigest(), key)

    def upload(self, upload: Upload) -> None:
        """A multipart upload; what an earlier process has sent of it, and is still right, is not sent again."""
        size, part_bytes = upload.digest.size_bytes, upload.part_bytes
        part_bytes = max(part_bytes, -(-size // _MOST_PARTS))
        noted = upload.note.read(upload.identity | {"part_bytes": part_bytes, "uri": self.uri})
        if noted is not None:
            try:
                upload_id = str(noted["upload_id"])
                sent = upload.retry(
                    f"asking for parts of {upload.key}", lambda: dict(self._parts(upload.key, upload_id))
                )
                self._finish(upload, upload_id, part_bytes, sent)
                return
            except LostUploadError:
                upload.note.clear()
        begun = upload.retry(
            f"beginning the upload of {upload.key}",
            lambda: self._call(
                "create_multipart_upload", Key=self._prefix + upload.key, Metadata={SHA256: upload.digest.sha256}
            ),
        )
        upload_id = str(begun["UploadId"])
        upload.note.write(upload.identity | {"part_bytes": part_bytes, "uri": self.uri, "upload_id": upload_id})
        self._finish(upload, upload_id, part_bytes, {})

    def facts(self, key: str) -> Facts:
        """One HeadObject."""
        found = self._call("head_object", Key=self._prefix + key)
        metadata = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        sha256, tag = metadata.get(SHA256), str(found.get("ETag", ""))
        return Facts(
            size_bytes=int(found["ContentLength"]),
            sha256=sha256,
            version=tag,
            provider_sum=self._sum_of(key, found, tag) if sha256 is None else None,
        )

    def read(self, key: str, *, start: int, length: int, version: str) -> bytes:
        """One GetObject of a range."""
        if length == 0:
            return b""
        asked = {"Range": f"bytes={start}-{start + length - 1}"} | ({"IfMatch": version} if version else {})

        def get() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **asked)
            return bytes(answer["Body"].read())

        content = _asked(get)
        if len(content) != length:
            raise PassingError(f"{len(content)} of {length} bytes of {key} came")
        return content

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Pages of a thousand."""
        asked: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self._prefix + prefix, **asked)
            for entry in page.get("Contents", ()):
                key = str(entry["Key"]).removeprefix(self._prefix)
                yield StoredObject(key=key, size_bytes=int(entry["Size"]), version=str(entry.get("ETag", "")))
            if not page.get("IsTruncated"):
                return
            asked = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, keys: Sequence[str]) -> None:
        """A thousand in one request."""
        for at in range(0, len(keys), 1000):
            wanted = [{"Key": self._prefix + key} for key in keys[at : at + 1000]]
            answer = self._call("delete_objects", Delete={"Objects": wanted, "Quiet": True})
            for error in answer.get("Errors", ()):
                message = f"{error.get('Key')} cannot be deleted: {error.get('Message') or error.get('Code')}"
                raise PassingError(message) if error.get("Code") in _PASSING else DeniedError(message)

    def abandon(self, prefix: str) -> int:
        """AbortMultipartUpload of each."""
        found = self._call("list_multipart_uploads", Prefix=self._prefix + prefix).get("Uploads", ())
        for entry in found:
            try:
                self._call("abort_multipart_upload", Key=entry["Key"], UploadId=entry["UploadId"])
            except (NotFoundError, LostUploadError):
                continue
        return len(found)

    def _sum_of(self, key: str, found: dict[str, Any], tag: str) -> ProviderSum | None:
        """What the ETag says of the content; None: it is of another kind, or the parts are not told."""
        count = etag_parts(tag) if _is_md5(found) else None
        if count is None:
            return None
        if count == 0:
            return ProviderSum(kind=SumKind.MD5, value=tag.strip('"'))
        first = self._call("head_object", Key=self._prefix + key, PartNumber=1)
        part_bytes, size_bytes = int(first["ContentLength"]), int(found["ContentLength"])
        # Stores of the same protocol that do not know the parameter answer with the size of the whole.
        if part_bytes <= 0 or -(-size_bytes // part_bytes) != count:
            return None
        return ProviderSum(kind=SumKind.MD5_OF_PARTS, value=tag.strip('"'), part_bytes=part_bytes)

    def _finish(self, upload: Upload, upload_id: str, part_bytes: int, sent: dict[int, str]) -> None:
        """Send the parts that are missing, then make an object of them all."""
        count = max(1, -(-upload.digest.size_bytes // part_bytes))
        with upload.source.open("rb") as file, ThreadPoolExecutor(upload.threads) as pool:
            send = partial(self._send, upload, upload_id, part_bytes, file.fileno(), sent)
            futures = [pool.submit(send, number) for number in range(1, count + 1)]
            try:
                tags = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        upload.retry(f"completing {upload.key}", lambda: self._complete(upload, upload_id, parts))
        upload.note.clear()

    def _send(
        self, upload: Upload, upload_id: str, part_bytes: int, descriptor: int, sent: dict[int, str], number: int
    ) -> str:
        """Send one part unless the store has it; its ETag."""
        content = os.pread(descriptor, part_bytes, (number - 1) * part_bytes)
        md5 = hashlib.md5(content, usedforsecurity=False)
        if sent.get(number) == md5.hexdigest():
            upload.on_bytes(len(content))
            return md5.hexdigest()

        def send() -> str:
            answer = self._call(
                "upload_part",
                Key=self._prefix + upload.key,
                UploadId=upload_id,
                PartNumber=number,
                Body=content,
                ContentMD5=_base64(md5),
            )
            _check_tag(answer, md5.hexdigest(), f"part {number} of {upload.key}")
            return str(answer["ETag"]).strip('"')

        tag = upload.retry(f"sending part {number} of {upload.key}", send)
        upload.on_bytes(len(content))
        return tag

    def _parts(self, key: str, upload_id: str) -> Iterator[tuple[int, str]]:
        asked: dict[str, int] = {}
        while True:
            page = self._call("list_parts", Key=self._prefix + key, UploadId=upload_id, **asked)
            for part in page.get("Parts", ()):
                yield int(part["PartNumber"]), str(part["ETag"]).strip('"')
            if not page.get("IsTruncated"):
                return
            asked = {"PartNumberMarker": int(page["NextPartNumberMarker"])}

    def _complete(self, upload: Upload, upload_id: str, parts: Sequence[dict[str, Any]]) -> None:
        try:
            self._call(
                "complete_multipart_upload",
                Key=self._prefix + upload.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [*parts]},
            )
        except LostUploadError:
            # The answer to an earlier try may have been lost on its way; then the object is there.
            if self.facts(upload.key).sha256 != upload.digest.sha256:
                raise

    def _call(self, name: str, **asked: Any) -> Any:
        return _asked(lambda: getattr(self._client, name)(Bucket=self._bucket, **asked))


def _asked(call: Callable[[], T]) -> T:
    """The answer to one request; what boto3 raises as what it means."""
    from botocore import exceptions  # Deferred as boto3 is.

    passing = (exceptions.HTTPClientError, exceptions.IncompleteReadError, exceptions.CredentialRetrievalError)
    try:
        return call()
    except exceptions.ClientError as error:
        raise _meaning(error) from error
    except passing as error:
        raise PassingError(str(error)) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise DeniedError(
            f"no AWS credentials: {error}", hint="Give the machine a role, or run `aws configure` where you launch."
        ) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise StoreError(f"S3 cannot be asked: {error}") from error


def _meaning(error: Any) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    text = f"S3 answered {code or status}: {error.response.get('Error', {}).get('Message') or error}"
    if code == "NoSuchUpload":
        return LostUploadError(text)
    if code in _SPOILT:
        return CorruptError(text)
    if code in _PASSING or status in (408, 429) or status >= 500:
        return PassingError(text)
    if status == 412:
        return StoreError("the object was replaced while it was read")
    if status == 404 or code in ("NoSuchKey", "NoSuchBucket"):
        return NotFoundError(text, hint="Check the bucket's name and region." if code == "NoSuchBucket" else None)
    if status in (401, 403):
        return DeniedError(text, hint="The credentials need to list, read, write and delete in this bucket.")
    return StoreError(text)


def _check_tag(answer: dict[str, Any], md5: str, what: str) -> None:
    """Under some encryptions the ETag is no MD5; there the store itself has compared."""
    tag = str(answer.get("ETag", "")).strip('"')
    if _is_md5(answer) and len(tag) == 32 and tag != md5:
        raise CorruptError(f"{what} arrived as something else")


def _is_md5(answer: dict[str, Any]) -> bool:
    return answer.get("ServerSideEncryption") in (None, "AES256") and not answer.get("SSECustomerAlgorithm")


def _base64(md5: Any) -> str:
    return base64.b64encode(md5.digest()).decode("ascii")
