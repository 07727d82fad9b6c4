"""What a missing key of a config.json stands for, by model type; from the config classes of transformers.

Two files of one model rarely hold the same keys: one spells out every default, the other names none. Compared without
defaults they are equal. The table is written by `python -m tests.support.config_defaults`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any


def defaults_of(model_type: str) -> Mapping[str, Any]:
    """Defaults of a model type; empty for one that is not in the table."""
    found = _table().get(model_type)
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = files("manager.catalog").joinpath("data", "config_defaults.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
