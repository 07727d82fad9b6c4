"""Where a model's tokenizer lies on this machine, if it does; planning downloads nothing."""

from __future__ import annotations

import os
from pathlib import Path

_TOKENIZER_NAMES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spm.model", "spiece.model")


def tokenizer_folder(source: str, revision: str | None) -> Path | None:
    """The model's folder, or its snapshot in the hub's cache, when it holds a tokenizer and weights; else None.

    A folder is returned as it is given, so that the worker can say what it lacks.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    snapshot = _cached_snapshot(source, revision)
    if snapshot is None or not any(snapshot.glob("*.safetensors")):
        return None
    return snapshot if any((snapshot / name).is_file() for name in _TOKENIZER_NAMES) else None


def _cached_snapshot(source: str, revision: str | None) -> Path | None:
    """Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache."""
    repository = _hub_cache() / f"models--{source.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    try:
        commit = reference.read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision or ""
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def _hub_cache() -> Path:
    """By the rules of huggingface_hub: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME, ~/.cache."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "huggingface" / "hub"
