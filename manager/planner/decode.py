"""JSON values to frozen dataclasses by their field types: the reading half of `planner.codec`.

Knows the types that plans are made of (dataclasses, tuples, unions with None, `Decimal`, plain values) and refuses
others, so that a new kind of field is noticed by a test and not by a user. Keys without a field are skipped, a missing
key takes the field's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Reader = Callable[[Any], Any]
_PLAIN = (str, int, bool)


def decoded(cls: type[T], record: Mapping[str, Any]) -> T:
    """An instance of a dataclass from a JSON object.

    Raises:
        KeyError: a field without default is missing.
        TypeError: a value of another type than the field's.
        ValueError: a number that cannot be read.
    """
    if not isinstance(record, Mapping):
        raise TypeError(f"{cls.__name__} is to be an object, not {type(record).__name__}")
    values = {}
    kind: Any = cls
    for name, reader, required in _readers(kind):
        if name in record:
            values[name] = reader(record[name])
        elif required:
            raise KeyError(f"{cls.__name__}.{name}")
    return cls(**values)


@lru_cache(maxsize=64)
def _readers(cls: type[Any]) -> tuple[tuple[str, _Reader, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (field.name, _reader(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(cls)
    )


def _reader(hint: Any) -> _Reader:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _union_reader(get_args(hint))
    if origin is tuple:
        entry = _reader(get_args(hint)[0])
        return lambda value: tuple(entry(each) for each in value)
    if origin is list:
        entry = _reader(get_args(hint)[0])
        return lambda value: [entry(each) for each in value]
    if hint is Decimal:
        return _decimal
    if hint is float:
        return _float
    if hint in _PLAIN:
        return _plain_reader(hint)
    if is_dataclass(hint):
        return lambda value: decoded(hint, value)  # type: ignore[arg-type]
    raise TypeError(f"no reader for fields of type {hint!r}")


def _union_reader(options: tuple[Any, ...]) -> _Reader:
    """The first member of the union that takes the value; null only where None is a member."""
    readers = [_reader(option) for option in options if option is not NoneType]
    optional = NoneType in options

    def read(value: Any) -> Any:
        if value is None and optional:
            return None
        for reader in readers:
            try:
                return reader(value)
            except (TypeError, ValueError):
                continue
        raise TypeError(f"{value!r} is none of {options}")

    return read


def _plain_reader(kind: type[Any]) -> _Reader:
    def read(value: Any) -> Any:
        # bool is a subclass of int in Python, and is not one in JSON.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return value

    return read


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError(f"{value!r} is no amount")
    amount = Decimal(repr(value) if isinstance(value, float) else value)
    if not amount.is_finite():
        raise ValueError(f"{value!r} is no amount")
    return amount
