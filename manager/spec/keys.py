"""What a single key of the run file may hold: for forms, which ask key by key.

Read from the schema, so that no list of keys or names stands twice; whether a value is right, the schema alone says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from manager.spec.schema import RunFile
from tasks.kinds import DATA_COLUMNS, TASK_KINDS

Path = tuple[str, ...]
"""Parts of a dotted key."""
_ADAPTERS = ("lora", "qlora")
_OF_ADAPTERS = ("method.rank", "method.alpha", "method.dropout", "method.targets")
_OF_GRADUAL = ("method.unfreeze_layers", "method.unfreeze_every_steps")
_OF_METHODS = {**dict.fromkeys(_OF_ADAPTERS, _ADAPTERS), **dict.fromkeys(_OF_GRADUAL, ("gradual",))}
"""Methods that have a use for a key; the others' keys are of all."""
_OF_TASKS = (*(f"data.{column}" for column in DATA_COLUMNS), "training.packing", "training.image_size")
PACKED_TASK = "causal-lm"
"""Whose samples may share a row; those of others stay apart."""


def part_names() -> tuple[str, ...]:
    """Keys that hold further keys: model, data, training ..."""
    return tuple(name for name, info in RunFile.model_fields.items() if _part(info) is not None)


def value_types(path: Path) -> frozenset[type]:
    """Types of the values that a key may hold, those of a list's members with it; empty for a key that is not allowed.

    `training.micro_batch` is an int or the text `auto`: {int, str}.
    """
    info = _field(path)
    return frozenset() if info is None else frozenset(_types(info.annotation))


def default_value(path: Path) -> object:
    """What holds where the file does not name the key; None also where there is no default."""
    info = _field(path)
    return None if info is None or info.is_required() else info.get_default(call_default_factory=True)


def is_required(path: Path) -> bool:
    """Whether the part has to name the key."""
    info = _field(path)
    return info is not None and info.is_required()


def choices(path: Path) -> tuple[str, ...]:
    """The names that a key may hold, where they are listed; `auto` of a key that may hold a number is one too."""
    info = _field(path)
    return () if info is None else tuple(_literals(info.annotation))


def applies_to(key: str, *, task: str, method: str) -> bool:
    """Whether the choice of task and method leaves a use for a dotted key; of a task that nobody knows all have one."""
    if key in _OF_METHODS:
        return method in _OF_METHODS[key]
    kind = TASK_KINDS.get(task)
    if kind is None:
        return True
    part, _, name = key.partition(".")
    if part == "data" and name in DATA_COLUMNS:
        return name in kind.columns
    if key == "training.packing":
        return kind.name == PACKED_TASK
    if key == "training.max_length":
        return kind.length == "tokens"
    return key != "training.image_size" or kind.samples == "images"


def refused_beside(key: str, value: str) -> tuple[str, ...]:
    """Dotted keys that the schema refuses beside this task or method; none of any other key."""
    if key == "task" and value in TASK_KINDS:
        return tuple(other for other in _OF_TASKS if not applies_to(other, task=value, method=""))
    if key == "method.kind":
        return tuple(other for other in _OF_GRADUAL if not applies_to(other, task="", method=value))
    return ()


def _field(path: Path) -> FieldInfo | None:
    part: type[BaseModel] | None = RunFile
    *parents, last = path
    for name in parents:
        info = None if part is None else part.model_fields.get(name)
        part = None if info is None else _part(info)
    if part is None:
        return None
    return next((info for name, info in part.model_fields.items() if (info.alias or name) == last), None)


def _part(info: FieldInfo) -> type[BaseModel] | None:
    found = (info.annotation, *get_args(info.annotation))
    return next((part for part in found if isinstance(part, type) and issubclass(part, BaseModel)), None)


def _types(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _types(get_args(annotation)[0])
    elif origin is Literal:
        yield from (type(value) for value in get_args(annotation))
    elif isinstance(annotation, type) and origin is None:
        if annotation is not type(None):
            yield annotation
    else:
        if isinstance(origin, type) and issubclass(origin, list):
            yield list
        for part in get_args(annotation):
            yield from _types(part)


def _literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (str(value) for value in get_args(annotation))
        return
    for part in get_args(annotation):
        yield from _literals(part)
