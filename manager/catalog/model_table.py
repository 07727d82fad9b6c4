"""The shipped table of popular models: rows by hub id, which can be planned without network.

Owns reading the table; what a row means is `models`', which names people use for its models is `names`'.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

NO_WEIGHTS = "config:"
"""Prefix of names that are no hub ids: published dimensions without weights, to be estimated alone."""


def table_row(name: str) -> Mapping[str, str] | None:
    """The row of a hub id, older ids too; None where the table has none."""
    return _table().get(name)


def known_models() -> tuple[str, ...]:
    """Hub ids of the shipped table, which can be planned without network."""
    rows = _table().items()
    return tuple(row["id"] for name, row in rows if name == row["id"] and not name.startswith(NO_WEIGHTS))


def table_names() -> tuple[tuple[str, str, str], ...]:
    """Each name in the shipped table (older ids too), the id it means, and its config as text."""
    return tuple((name, row["id"], row["config"]) for name, row in _table().items())


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, str]]:
    """Rows by hub id and, where the hub still redirects it, by the id from before organizations (`gpt2`)."""
    text = files("manager.catalog").joinpath("data", "models.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return {name: row for row in rows for name in (row["id"], row["legacy_id"]) if name}
