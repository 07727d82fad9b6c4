"""Brings data sets and models to this machine: paths as they are, hub ids and bucket URIs through a cache folder.

Only files are moved, nothing of a repository is ever executed; a miss fails at once and says what was looked for.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tasks.failures import TaskError, as_task_error, nearest_hint
from tasks.protocol import FailureCode
from tasks.reading import SUFFIXES

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_DATA_PATTERNS = [f"*{suffix}" for suffix in SUFFIXES]
_MODEL_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def local_data(source: str, revision: str | None) -> Path:
    """The file or folder of a data source; buckets and the hub are downloaded once and cached.

    Raises:
        TaskError: data_not_found.
    """
    if source.startswith("s3://"):
        return _from_bucket(source, _s3_objects)
    if source.startswith("gs://"):
        return _from_bucket(source, _gs_objects)
    path = Path(source).expanduser()
    if path.exists():
        return path
    if path.suffix.lower() in (*SUFFIXES, ".npz") or not _HUB_ID.fullmatch(source):
        raise _no_such_path(path, FailureCode.DATA_NOT_FOUND, "data file or folder")
    return _from_hub(source, revision, "dataset", _DATA_PATTERNS)


def local_model(source: str, revision: str | None) -> Path:
    """The folder of a model, checked for config.json and safetensors weights.

    Raises:
        TaskError: model_not_found.
    """
    path = Path(source).expanduser()
    if not path.exists():
        if not _HUB_ID.fullmatch(source):
            raise _no_such_path(path, FailureCode.MODEL_NOT_FOUND, "model folder")
        path = _from_hub(source, revision, "model", _MODEL_PATTERNS)
    if not (path / "config.json").is_file():
        raise TaskError(
            FailureCode.MODEL_NOT_FOUND,
            f"{source!r} holds no config.json, so it is no model folder.",
            hint="A model folder has config.json, tokenizer files and *.safetensors.",
        )
    if not any(path.glob("*.safetensors")):
        raise TaskError(
            FailureCode.MODEL_NOT_FOUND,
            f"The model {source!r} has no *.safetensors weights.",
            hint="Pickled weights (*.bin, *.pt) are not loaded; convert them with `save_pretrained`.",
        )
    return path


def is_local(source: str) -> bool:
    """Whether a source of data or model is a file or folder of this machine: by its form, or because it is there."""
    return source.startswith(("/", ".", "~")) or Path(source).expanduser().exists()


def public_name(source: str) -> str:
    """What a published file may call a source: the last part of a path of this machine, ids and URIs as they are."""
    return Path(os.path.abspath(Path(source).expanduser())).name if is_local(source) else source


def cache_folder() -> Path:
    """Where downloads from buckets are kept: TUNEFARE_CACHE, else under XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("TUNEFARE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "tunefare" / "data"


def _no_such_path(path: Path, code: FailureCode, what: str) -> TaskError:
    parent = path.parent
    hint = f"There is no folder {str(parent)!r} either."
    if parent.is_dir():
        hint = nearest_hint(path.name, sorted(entry.name for entry in parent.iterdir()), f"entries of {parent}")
    return TaskError(code, f"There is no {what} {str(path)!r}.", hint=hint)


def _from_hub(source: str, revision: str | None, kind: str, patterns: list[str]) -> Path:
    # Deferred: a quarter of a second and an HTTP client that local files do not need.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    code = FailureCode.MODEL_NOT_FOUND if kind == "model" else FailureCode.DATA_NOT_FOUND
    what = f"There is no folder {source!r} here, and the {kind} {source!r}"
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            repo_type=kind,
            allow_patterns=patterns,
            # Exports for other runtimes lie in subfolders of model repositories and would double the download.
            ignore_patterns=["*/*"] if kind == "model" else None,
            etag_timeout=5,
        )
    except LocalEntryNotFoundError as error:
        raise TaskError(
            code,
            f"{what} is not in the hub's cache, and the hub cannot be reached.",
            hint="Check the spelling of the folder, or the network (HF_HUB_OFFLINE=1 turns it off).",
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TaskError(
            code,
            f"{what} cannot be had from the hub: {first_line}",
            hint="Check the spelling and the revision; a private or gated repository needs HF_TOKEN.",
        ) from error
    return Path(folder)


Objects = Iterator[tuple[str, str, Callable[[str], Any]]]
"""Key, ETag and a function that downloads the object to a file."""


def _from_bucket(uri: str, list_objects: Callable[[str, str], Objects]) -> Path:
    """Download an object, or all objects under a prefix, to a folder of the cache named after the URI."""
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    folder = cache_folder() / hashlib.sha256(uri.encode()).hexdigest()[:16]
    found: list[Path] = []
    try:
        for name, etag, download in list_objects(bucket, key):
            if name.endswith("/") or not (name == key or name.startswith(key.rstrip("/") + "/") or not key):
                continue
            relative = name[len(key) :].lstrip("/") if name != key else Path(name).name
            found.append(_download(folder, relative, etag, download))
    except Exception as error:
        # Both clients raise a tree of their own per service and transport; all mean that the bucket cannot be read.
        if as_task_error(error).code is not FailureCode.INTERNAL:
            raise
        raise TaskError(
            FailureCode.DATA_NOT_FOUND,
            f"{uri} cannot be read: {type(error).__name__}: {str(error).strip()[:300]}",
            hint="Check bucket, key and the machine's credentials.",
        ) from error
    if not found:
        raise TaskError(FailureCode.DATA_NOT_FOUND, f"There is no object {uri} and none under it.")
    _remove_stale(folder, found)
    return found[0] if len(found) == 1 and found[0].name == Path(key).name else folder


def _download(folder: Path, relative: str, etag: str, download: Callable[[str], Any]) -> Path:
    if any(part in ("..", "") for part in relative.split("/")):
        raise TaskError(FailureCode.DATA_NOT_FOUND, f"The object key {relative!r} would lie outside its folder.")
    target = folder / relative
    marker = target.with_name(f".{target.name}.etag")
    if target.is_file() and marker.is_file() and marker.read_text() == etag:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several processes of one machine may fetch the same object at the same time.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.partial")
    download(str(unfinished))
    unfinished.replace(target)
    marker.write_text(etag)
    return target


def _remove_stale(folder: Path, found: list[Path]) -> None:
    """Objects that are gone from the bucket must not be read from the cache."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.startswith(".") and file not in found:
            file.unlink()


def _s3_objects(bucket: str, key: str) -> Objects:
    import boto3  # Deferred: only s3:// sources need the client.

    client = boto3.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for entry in page.get("Contents", []):
            name = entry["Key"]
            yield name, entry["ETag"], partial(client.download_file, bucket, name)


def _gs_objects(bucket: str, key: str) -> Objects:
    from google.cloud import storage  # Deferred: only gs:// sources need the client.

    for blob in storage.Client().list_blobs(bucket, prefix=key):
        yield blob.name, str(blob.etag), blob.download_to_filename
