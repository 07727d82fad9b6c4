"""Typed access to a config.json: each missing or wrong field becomes an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.errors import DataError


class ConfigReader:
    """Reads fields of one model config; `where` says in errors which config is meant."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self._config = config
        self._where = where

    def has(self, *names: str) -> bool:
        """Whether one of the fields is there and not null."""
        return any(self._config.get(name) is not None for name in names)

    def is_positive(self, name: str) -> bool:
        """Whether the field is a number above 0 (some configs write -1 for `not set`)."""
        value = self._config.get(name)
        return isinstance(value, int) and not isinstance(value, bool) and value > 0

    def size(self, *names: str, default: int | None = None) -> int:
        """A whole number above 0 under the first of the names that is there.

        Raises:
            DataError: the field is missing without a default, or is not a positive whole number.
        """
        value = self.count(*names, default=default)
        if value == 0:
            raise self._wrong(names[0], 0, "a whole number above 0")
        return value

    def count(self, *names: str, default: int | None = None) -> int:
        """A whole number from 0 under the first of the names that is there; else the default.

        Raises:
            DataError: the field is missing without a default, or is not such a number.
        """
        for name in names:
            value = self._config.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise self._wrong(name, value, "a whole number from 0")
            return value
        if default is None:
            raise DataError(
                f"config.json of {self._where} has no field '{names[0]}'",
                hint="use a config.json as `save_pretrained` of transformers writes it",
            )
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        """A truth value.

        Raises:
            DataError: the field is there and is neither true nor false.
        """
        value = self._config.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, *names: str) -> str | None:
        """A text under the first of the names that is there; None when there is none."""
        for name in names:
            value = self._config.get(name)
            if isinstance(value, str) and value:
                return value
        return None

    def words(self, name: str, *, separator: str) -> tuple[str, ...]:
        """Several words, given as a list or as one text with separators; empty when the field is missing."""
        value = self._config.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(separator))
        if isinstance(value, list):
            return tuple(str(word) for word in value)
        raise self._wrong(name, value, f"words separated by '{separator}'")

    def _wrong(self, name: str, value: object, wanted: str) -> DataError:
        return DataError(
            f"config.json of {self._where}: field '{name}' is {value!r}, wanted {wanted}",
            hint="correct the field, or download the config.json again",
        )
