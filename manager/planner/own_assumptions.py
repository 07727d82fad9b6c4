"""A user's own assumptions: TOML text laid over the shipped table, and the commented text to begin with.

Pure: who reads the file passes its text and its name. The file has a table per row: `[boot]` for all clouds without a
row of their own (here or in the shipped table), `[boot.aws]` for one cloud, each with `low`, `expected`, `high` in the
shipped unit (`expected` alone is exact) and, if wanted, `source`, `as_of` and `unit`. What is not in the file stays as
shipped. Everything else is refused with its line.
"""

from __future__ import annotations

import datetime
import difflib
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from manager.errors import ConfigError
from manager.planner.assumptions import ANY_CLOUD, AssumedQuantity, Assumptions
from manager.units import Interval

_ENDS = ("low", "expected", "high")
_KEYS = (*_ENDS, "unit", "source", "as_of")
_NO_SOURCE = "own figure, no source given"
_MAY_BE_ZERO = frozenset({"min", "s", "1/h", "GiB", "USD/GiB-month", "USD/GiB", "USD/h"})
"""Units of what may be nothing; speeds and factors divide or multiply a time."""
CLOUDS_WITHOUT_ROWS = frozenset(
    {
        "cudo",
        "do",
        "fluidstack",
        "hyperbolic",
        "ibm",
        "mithril",
        "paperspace",
        "primeintellect",
        "scp",
        "seeweb",
        "shadeform",
        "verda",
        "vsphere",
        "yotta",
    }
)
"""Clouds of SkyPilot that have no row in the shipped table."""
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_\"'-]+)\s*=")


def with_own(shipped: Assumptions, text: str, *, file: str) -> Assumptions:
    """The table with the rows of an own file laid over it.

    Args:
        shipped: the table that they replace rows of; it knows all names and units.
        text: TOML.
        file: name of the file, for messages and as the rows' origin.

    Raises:
        ConfigError: the text is no TOML or says something that the table has no place for.
    """
    reader = _Reader(shipped, text, file)
    return Assumptions({**shipped.rows, **reader.rows()})


def text_to_edit(table: Assumptions) -> str:
    """The whole table as TOML, commented out: what is uncommented and changed replaces the shipped row."""
    lines = [
        "# Own assumptions of tunefare: uncomment a table with its lines and change them; the rest stays as shipped.",
        "# [name] holds for all clouds that have no table of their own, here or below; [name.cloud] for one cloud.",
        "# `expected` alone is taken as exact. `tunefare assumptions` shows what holds.",
    ]
    for (name, cloud), row in table.rows.items():
        lines += ["", f"# unit: {row.unit}"]
        lines.append(f"# [{name}]" if cloud == ANY_CLOUD else f"# [{name}.{cloud}]")
        lines += [f"# {end} = {getattr(row.value, end):g}" for end in _ENDS]
        lines.append(f"# source = {_quoted(row.source)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Reader:
    shipped: Assumptions
    text: str
    file: str

    def rows(self) -> dict[tuple[str, str], AssumedQuantity]:
        found: dict[tuple[str, str], AssumedQuantity] = {}
        for name, table in self._parsed().items():
            self._check_name(name, table)
            own = {key: value for key, value in table.items() if not isinstance(value, dict)}
            if own:
                found[name, ANY_CLOUD] = self._row((name,), own, ANY_CLOUD)
            for cloud, values in table.items():
                if isinstance(values, dict):
                    self._check_cloud(name, cloud)
                    found[name, cloud] = self._row((name, cloud), values, cloud)
        return found

    def _parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"assumptions file {self.file} is no TOML: {error}", hint="mend it, or move it away"
            ) from error

    def _check_name(self, name: str, table: Any) -> None:
        if name not in self.shipped.names:
            self._refuse((name,), f"there is no assumption `{name}`", _nearest(name, self.shipped.names))
        if not isinstance(table, dict):
            self._refuse((name,), f"`{name}` is no table", f"write [{name}] and under it `expected = {table}`")

    def _check_cloud(self, name: str, cloud: str) -> None:
        known = {of for _, of in self.shipped.rows if of != ANY_CLOUD} | CLOUDS_WITHOUT_ROWS
        if cloud == ANY_CLOUD:
            self._refuse((name, cloud), f"`{name}.*` is no cloud", f"write [{name}] for all others")
        if cloud not in known:
            self._refuse((name, cloud), f"there is no cloud `{cloud}` (in `{name}`)", _nearest(cloud, known))

    def _row(self, path: tuple[str, ...], values: Mapping[str, Any], cloud: str) -> AssumedQuantity:
        for key, value in values.items():
            if key not in _KEYS or isinstance(value, dict):
                dotted = ".".join((*path, key))
                self._refuse((*path, key), f"unknown key `{dotted}`", _nearest(key, _KEYS))
        shipped = self.shipped.of(path[0], cloud)
        if values.get("unit", shipped.unit) != shipped.unit:
            said = f"`{'.'.join(path)}` is in {shipped.unit}, not in {values['unit']!r}"
            self._refuse((*path, "unit"), said, f"convert the figures to {shipped.unit}, or leave `unit` out")
        return AssumedQuantity(
            name=path[0],
            value=self._interval(path, values, shipped),
            unit=shipped.unit,
            source=self._text(path, "source", values) or _NO_SOURCE,
            as_of=self._text(path, "as_of", values),
            origin=self.file,
        )

    def _interval(self, path: tuple[str, ...], values: Mapping[str, Any], shipped: AssumedQuantity) -> Interval:
        dotted, given = ".".join(path), [end for end in _ENDS if end in values]
        if given == ["expected"]:
            exact = self._number(path, "expected", values, shipped)
            return Interval(low=exact, expected=exact, high=exact)
        if len(given) < len(_ENDS):
            missing = ", ".join(end for end in _ENDS if end not in given)
            hint = f"shipped: {shipped.figure()}; `expected` alone is taken as exact"
            self._refuse(path, f"`{dotted}` lacks {missing}", hint)
        low, expected, high = (self._number(path, end, values, shipped) for end in _ENDS)
        if not low <= expected <= high:
            said = f"`{dotted}` is not in order: low {low:g}, expected {expected:g}, high {high:g}"
            self._refuse((*path, "low" if low > expected else "high"), said, "low <= expected <= high")
        return Interval(low=low, expected=expected, high=high)

    def _number(self, path: tuple[str, ...], end: str, values: Mapping[str, Any], shipped: AssumedQuantity) -> float:
        value = values[end]
        dotted, hint = ".".join((*path, end)), f"shipped: {shipped.figure()}"
        # TOML knows nan, inf and integers beyond any float; bool is a number to Python.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= sys.float_info.max:
            self._refuse((*path, end), f"`{dotted}` is {_shortened(value)}, not a number of {shipped.unit}", hint)
        if value < 0:
            self._refuse((*path, end), f"`{dotted}` is {value:g}: less than nothing", hint)
        if value == 0 and shipped.unit not in _MAY_BE_ZERO:
            self._refuse((*path, end), f"`{dotted}` is 0: a {shipped.unit} of nothing has no end", hint)
        return float(value)

    def _text(self, path: tuple[str, ...], key: str, values: Mapping[str, Any]) -> str:
        value = values.get(key, "")
        if key == "as_of" and isinstance(value, datetime.date):
            return value.isoformat()
        if not isinstance(value, str):
            dotted = ".".join((*path, key))
            self._refuse((*path, key), f"`{dotted}` is {value!r}, not a text", 'write it in quotes: "..."')
        return " ".join(value.split())

    def _refuse(self, path: tuple[str, ...], message: str, hint: str) -> NoReturn:
        line = _line(self.text, path)
        where = self.file if line is None else f"{self.file}:{line}"
        raise ConfigError(f"assumptions file {where}: {message}", hint=hint)


def _shortened(value: object) -> str:
    # Python refuses to print integers of thousands of digits.
    return "too large" if isinstance(value, int) and abs(value) > sys.float_info.max else f"{value!r:.60}"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    listing = f"known: {', '.join(names)}"
    return f"did you mean `{near[0]}`? {listing}" if near else listing


def _line(text: str, path: tuple[str, ...]) -> int | None:
    """Line of a key, else of the nearest table above it, from 1; tomllib does not tell."""
    table: tuple[str, ...] = ()
    found: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = tuple(_unquoted(part) for part in header[1].split("."))
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, _unquoted(key[1])), number)
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return None


def _unquoted(part: str) -> str:
    return part.strip().strip("\"'")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
