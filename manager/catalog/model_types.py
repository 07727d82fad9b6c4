"""Model types: for which tasks each can be trained, and under which names its config keeps its dimensions.

Owns the table `data/model_types.csv`, which holds what transformers knew on the date of each row. A type that is not in
it is None, not a guess: a newer transformers may know it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """One value of `model_type` in a config.json."""

    name: str
    tasks: tuple[str, ...]
    """Tasks that the tracer names (`tasks/step_trace.py`), the usual one first."""
    architectures: tuple[str, ...]
    """Classes that name this type in the field `architectures`."""
    hidden_names: tuple[str, ...]
    """Fields that hold the hidden size, the one that transformers writes first; empty where there is no single one."""
    layer_names: tuple[str, ...]
    head_names: tuple[str, ...]
    vocabulary_names: tuple[str, ...]
    """Empty where the model reads no text."""
    position_names: tuple[str, ...]
    """Empty where nothing bounds the length of a text, or where there is none."""
    has_own_head_size: bool
    """Whether the size of a head has a default of its own, so that it need not be hidden size over heads."""
    is_rotary: bool


def model_type(name: str) -> ModelType | None:
    """The row of a model type; None when the table does not know it."""
    return _table().get(name)


def model_type_names() -> tuple[str, ...]:
    """All types of the table."""
    return tuple(_table())


def type_of_architecture(architecture: str) -> ModelType | None:
    """The type whose class this is (`LlamaForCausalLM`); None when no row names it, or several do."""
    return _by_architecture().get(architecture)


@lru_cache(maxsize=1)
def _table() -> dict[str, ModelType]:
    text = files("manager.catalog").joinpath("data", "model_types.csv").read_text(encoding="utf-8")
    return {row["model_type"]: _parse(row) for row in csv.DictReader(text.splitlines())}


@lru_cache(maxsize=1)
def _by_architecture() -> dict[str, ModelType]:
    found: dict[str, list[ModelType]] = {}
    for row in _table().values():
        for architecture in row.architectures:
            found.setdefault(architecture, []).append(row)
    return {architecture: rows[0] for architecture, rows in found.items() if len(rows) == 1}


def _parse(row: dict[str, str]) -> ModelType:
    return ModelType(
        name=row["model_type"],
        tasks=_split(row["tasks"], ";"),
        architectures=_split(row["architectures"], ";"),
        hidden_names=_split(row["hidden"], "|"),
        layer_names=_split(row["layers"], "|"),
        head_names=_split(row["heads"], "|"),
        vocabulary_names=_split(row["vocabulary"], "|"),
        position_names=_split(row["positions"], "|"),
        has_own_head_size=row["own_head_size"] == "yes",
        is_rotary=row["rotary"] == "yes",
    )


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(text.split(separator)) if text else ()
