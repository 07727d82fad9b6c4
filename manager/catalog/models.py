"""Models by hub id or folder: where a config comes from when nothing may be downloaded.

Order for a hub id: the shipped table of popular models, then the local Hugging Face cache, then names of timm, which
say all that is needed. A source is a folder when it starts with `./`, `../`, `/` or `~`, or when such a folder exists.
Never asks the network; never loads weights.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manager.catalog.config_check import checked_config, max_positions, stored_dtype, tasks_of
from manager.catalog.model_entry import ModelEntry
from manager.catalog.model_folder import model_folder, read_json_object, safetensors_bytes
from manager.catalog.model_table import NO_WEIGHTS, known_models, table_row
from manager.catalog.model_types import model_type
from manager.catalog.names import match_name
from manager.catalog.timm_names import timm_entry_config
from manager.errors import DataError

_WEIGHT_SUFFIXES = frozenset({".gguf", ".safetensors", ".bin", ".json"})
_SHOWN = 80
"""Characters of a wrong name in its message."""
_FOLDER_PREFIXES = ("./", "../", "/", "~")


def resolve_entry(source: str, revision: str | None = None) -> ModelEntry:
    """A model given by hub id or folder, with its checked config, offline.

    Args:
        source: hub id, an id of timm, or a folder with config.json.
        revision: branch, tag or commit of a hub id; None is the default branch. The shipped table holds default
            branches, so that another revision is looked up in the cache alone.

    Raises:
        DataError: the folder or its config.json is missing or unusable, or nothing is known here of the hub id.
    """
    if _is_folder(source):
        folder = _expanded(source)
        return _entry_from_folder(folder, name=_folder_name(folder), is_folder=True)
    if revision in (None, "main"):
        row = table_row(source)
        if row is not None:
            return _entry_from_row(source, row)
    cached = _cached_snapshot(source, revision)
    if cached is not None:
        entry = _entry_from_folder(cached, name=source, is_folder=False)
        return replace(entry, source=f"Hugging Face cache, revision {cached.name}")
    timm = timm_entry_config(source)
    if timm is not None:
        return _entry(source, timm, source="name of a timm model")
    raise _unknown_model(source, revision)


def check_use(entry: ModelEntry, *, task: str, max_length: int | None) -> None:
    """Refuse what the architecture cannot be trained for.

    Args:
        entry: the model.
        task: of the run.
        max_length: most tokens of a sample; None: samples are no text.

    Raises:
        DataError: transformers has no class of this model type for the task, or the model has fewer positions.
    """
    known = model_type(entry.model_type)
    tasks = {*entry.tasks, *(known.tasks if known else ())}
    if task not in tasks:
        raise DataError(
            f"'{entry.name}' ({entry.model_type}) cannot be tuned for {task}",
            hint=f"it can be tuned for {', '.join(sorted(tasks))}",
        )
    if max_length is not None and entry.max_positions is not None and max_length > entry.max_positions:
        raise DataError(
            f"training.max_length is {max_length:,}, but '{entry.name}' takes at most {entry.max_positions:,} tokens",
            hint=f"set training.max_length to {entry.max_positions} or less",
        )


def check_room(entry: ModelEntry, *, max_length: int, image_tokens: int) -> None:
    """Refuse texts that fill the positions which their image needs.

    Args:
        entry: the model.
        max_length: most tokens of the text of a sample.
        image_tokens: what its image adds to them; 0: there is none.

    Raises:
        DataError: the model has fewer positions.
    """
    limit = entry.max_positions
    if not image_tokens or limit is None or max_length + image_tokens <= limit:
        return
    raise DataError(
        f"training.max_length is {max_length:,} and an image adds {image_tokens:,}, but '{entry.name}' takes at most "
        f"{limit:,} tokens",
        hint=f"set training.max_length to {limit - image_tokens} or less",
    )


def reason_to_plan_only(source: str) -> str | None:
    """Why a model can be planned and not run, for people; None: it can be run, as far as its name tells."""
    if source.startswith(NO_WEIGHTS):
        return f"the model {source} is dimensions without weights"
    if timm_entry_config(source) is not None:
        return f"the model {source} needs the package timm, which the set-up does not install"
    return None


def _entry_from_row(name: str, row: Mapping[str, str]) -> ModelEntry:
    config: dict[str, Any] = json.loads(row["config"])
    entry = _entry(name, config, source=f"shipped table of models, {row['as_of']}")
    return replace(entry, tasks=tuple(row["tasks"].split(";")), parameters=int(row["parameters"]))


def _entry_from_folder(folder: Path, *, name: str, is_folder: bool) -> ModelEntry:
    inner = model_folder(folder)
    path = inner / "config.json"
    entry = _entry(name, read_json_object(path), source=str(path))
    return replace(entry, weights_bytes=safetensors_bytes(inner), is_folder=is_folder)


def _entry(name: str, config: Mapping[str, Any], *, source: str) -> ModelEntry:
    checked = checked_config(config, name)
    return ModelEntry(
        name=name,
        config=checked,
        model_type=checked["model_type"],
        tasks=tasks_of(checked, name),
        parameters=None,
        stored_dtype=stored_dtype(checked, name),
        weights_bytes=None,
        max_positions=max_positions(checked),
        source=source,
        is_folder=False,
    )


def _folder_name(folder: Path) -> str:
    """The last two parts of the path: many tools call the folder itself just `model`."""
    whole = folder.resolve()
    return "/".join(part for part in (whole.parent.name, whole.name) if part) or str(folder)


def _is_folder(source: str) -> bool:
    path = Path(source)
    if source in (".", "..") or source.startswith(_FOLDER_PREFIXES):
        return True
    try:
        return path.is_dir() or (path.suffix in _WEIGHT_SUFFIXES and path.is_file())
    except (OSError, ValueError) as error:  # too long, or with characters that no file name has
        raise _no_name(source) from error


def _expanded(source: str) -> Path:
    try:
        folder = Path(source).expanduser()
        folder.resolve()
        folder.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of a user that does not exist
        raise _no_name(source) from error
    return folder


def _no_name(source: str) -> DataError:
    shown = source if len(source) <= _SHOWN else f"{source[:_SHOWN]}..."
    return DataError(
        f"{shown!r} can be no model: neither a folder nor an id of the hub",
        hint="give a hub id such as 'org/name', or a folder that exists (./name)",
    )


def _cached_snapshot(source: str, revision: str | None) -> Path | None:
    """The snapshot folder of the Hugging Face cache that holds the config of this revision; None when there is none.

    Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    repository = hub_cache() / f"models--{source.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
    elif revision is not None:
        commit = revision
    else:
        # Without refs/main the cache holds explicitly asked revisions only; a single one is no guess.
        snapshots = sorted(repository.glob("snapshots/*/config.json"))
        return snapshots[0].parent if len(snapshots) == 1 else None
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None


def hub_cache() -> Path:
    """The cache folder by the rules of huggingface_hub: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME, ~/.cache."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "huggingface" / "hub"


def _unknown_model(source: str, revision: str | None) -> DataError:
    meant = match_name(source) or next(iter(difflib.get_close_matches(source, known_models(), n=1)), None)
    suggestion = f"did you mean '{meant}'? Otherwise " if meant not in (None, source) else ""
    at = f" at revision '{revision}'" if revision else ""
    return DataError(
        f"nothing is known here of the model '{source}'{at}: no folder, not in the shipped table, not in the cache",
        hint=f"{suggestion}download its config once (`hf download {source} config.json`), or give a folder (./name)",
    )
