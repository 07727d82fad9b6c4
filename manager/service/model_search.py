"""Models to choose from, by words: the shipped table, the hub's cache, and folders of this machine.

Never asks the network. What a model can be tuned for comes from its config; a config that cannot be read is no hit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.catalog.model_table import known_models, table_row
from manager.catalog.model_types import model_type
from manager.catalog.models import hub_cache, resolve_entry
from manager.catalog.names import match_name
from manager.errors import DataError
from manager.units import format_bytes

CATALOG, CACHE, FOLDER = "catalog", "cache", "folder"
_DEPTH = 3
"""How deep below a folder models are looked for."""
_MOST_FOLDERS = 2000
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages", "checkpoints"})
_WORDS = re.compile(r"[a-z]+|\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHit:
    """One model that the words fit."""

    name: str
    """What to write as model.source: hub id, or path of a folder."""
    parameters: int | None
    """Of the backbone; None where the table does not have it."""
    tasks: tuple[str, ...]
    """What it can be tuned for, the usual task first."""
    weights_bytes: int | None
    """Size of the safetensors files; None where they are not on this machine."""
    source: str
    """Where it was found: catalog (the shipped table), cache (the hub's, on this machine) or folder."""


def search_models(
    text: str, *, task: str | None = None, folders: Sequence[Path] = (), limit: int = 20
) -> tuple[ModelHit, ...]:
    """The models whose names have all these words, the likeliest first.

    Args:
        text: words in any order, parts of words too; a published name (`llama 3 8b`) finds what it means first. Empty:
            every model.
        task: only models that can be tuned for it; None: all.
        folders: folders of this machine to look into.
        limit: most hits.
    """
    meant = match_name(text)
    hits = [hit for hit in _all_hits(folders) if _fits(hit, text) or hit.name == meant]
    wanted = [hit for hit in hits if task is None or task in hit.tasks]
    wanted.sort(key=lambda hit: (hit.name != meant, *_rank(hit, text)))
    return tuple(wanted[:limit])


def size_text(hit: ModelHit) -> str:
    """How large a model is, as far as that is known."""
    if hit.parameters is not None:
        count = hit.parameters
        size = f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"
        return f"{size} parameters, head apart"
    return "size unknown" if hit.weights_bytes is None else f"{format_bytes(hit.weights_bytes)} of weights"


def _all_hits(folders: Sequence[Path]) -> Iterator[ModelHit]:
    for folder in folders:
        yield from _in_folder(folder)
    known = _catalog()
    cached = [hit for hit in _in_cache() if hit.name not in known]
    yield from cached
    yield from known.values()


def _fits(hit: ModelHit, text: str) -> bool:
    name = hit.name.casefold()
    return all(word in name for word in _WORDS.findall(text.casefold()))


def _rank(hit: ModelHit, text: str) -> tuple[bool, bool, bool, int, str]:
    """What is on this machine first, then names that begin so, then short ones."""
    last = hit.name.rpartition("/")[2].casefold()
    begun = text.strip().casefold()
    return (
        hit.source != FOLDER,
        not (bool(begun) and (last.startswith(begun) or hit.name.casefold().startswith(begun))),
        hit.source != CACHE,
        len(last) if begun else 0,
        hit.name.casefold(),
    )


@lru_cache(maxsize=1)
def _catalog() -> dict[str, ModelHit]:
    return {name: _table_hit(name) for name in known_models()}


def _table_hit(name: str) -> ModelHit:
    row = table_row(name)
    assert row is not None, "known models stand in the table"
    entry = resolve_entry(name)
    return _hit(name, entry, CATALOG)


def _hit(name: str, entry: ModelEntry, source: str) -> ModelHit:
    known = model_type(entry.model_type)
    return ModelHit(
        name=name,
        parameters=entry.parameters,
        tasks=tuple(dict.fromkeys((*entry.tasks, *(known.tasks if known else ())))),
        weights_bytes=entry.weights_bytes,
        source=source,
    )


def _in_cache() -> Iterator[ModelHit]:
    for repository in sorted(hub_cache().glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        try:
            yield _hit(name, resolve_entry(name), CACHE)
        except DataError:
            continue


def _in_folder(folder: Path) -> Iterator[ModelHit]:
    for place in _model_folders(folder):
        try:
            yield _hit(str(place), resolve_entry(str(place)), FOLDER)
        except DataError:
            continue


def _model_folders(root: Path) -> Iterator[Path]:
    """Folders with a config.json, at most three levels down; links are not followed, and looking ends at a limit."""
    root = root.expanduser().absolute()
    for seen, (place, folders, files) in enumerate(os.walk(root)):
        depth = len(Path(place).relative_to(root).parts)
        if "config.json" in files:
            yield Path(place)
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _PASSED_OVER)
        if depth >= _DEPTH:
            folders.clear()
        if seen >= _MOST_FOLDERS:
            return
