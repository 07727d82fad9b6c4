"""Brings data sets and models to this machine: paths as they are, hub ids and bucket URIs through a cache folder.

Only files are moved, nothing of a repository is ever executed; a miss fails at once and says what was looked for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tasks.bucket_data import from_bucket, is_bucket
from tasks.failures import TaskError, nearest_hint
from tasks.protocol import FailureCode
from tasks.reading import SUFFIXES
from tasks.stores.datasets import parse_staged

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_DATA_PATTERNS = [f"*{suffix}" for suffix in SUFFIXES]
_MODEL_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def local_data(source: str, revision: str | None) -> Path:
    """The file or folder of a data source; buckets and the hub are downloaded once and cached.

    Raises:
        TaskError: data_not_found.
    """
    if is_bucket(source):
        return from_bucket(source)
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


def model_files(source: str, revision: str | None) -> Path:
    """The folder of a model with config and tokenizer; weights are in it where they are here, and not downloaded.

    Raises:
        TaskError: model_not_found.
    """
    path = Path(source).expanduser()
    if not path.exists() and not _HUB_ID.fullmatch(source):
        raise _no_such_path(path, FailureCode.MODEL_NOT_FOUND, "model folder")
    if not path.exists():
        patterns = [pattern for pattern in _MODEL_PATTERNS if not pattern.endswith(".safetensors")]
        path = _from_hub(source, revision, "model", patterns)
    if not (path / "config.json").is_file():
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"{source!r} holds no config.json, so it is no model folder.")
    return path


def is_local(source: str) -> bool:
    """Whether a source of data or model is a file or folder of this machine: by its form, or because it is there."""
    return source.startswith(("/", ".", "~")) or Path(source).expanduser().exists()


def public_name(source: str) -> str:
    """What a published file may call a source: the last part of a path of this machine, ids and URIs as they are, of
    data staged in a bucket its file or the beginning of its checksum."""
    if (staged := parse_staged(source)) is not None:
        return staged.file or f"data {staged.sha256[:12]}"
    return Path(os.path.abspath(Path(source).expanduser())).name if is_local(source) else source


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
