"""Writes `manager/catalog/data/config_defaults.json`: what a config class of transformers takes a missing key for.

    python -m tests.support.config_defaults

For the model types of the table of models. Keys that earlier versions of transformers wrote and that mean nothing in
the installed one at their old default stand beside them.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "manager" / "catalog" / "data"
FILE = DATA / "config_defaults.json"
_OF_EARLIER_VERSIONS = {
    "gradient_checkpointing": False,
    "position_embedding_type": "absolute",
    "pretraining_tp": 1,
    "rope_scaling": None,
    "add_cross_attention": False,
    "is_decoder": False,
    "output_past": True,
    "pooler_type": "first_token_transform",
    "classifier_dropout": None,
}


def defaults() -> dict[str, dict[str, Any]]:
    """Defaults by model type, in order; values that JSON cannot hold are left out."""
    from transformers import CONFIG_MAPPING

    with (DATA / "models.csv").open(encoding="utf-8", newline="") as stream:
        types = {json.loads(row["config"])["model_type"] for row in csv.DictReader(stream)}
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(types):
        if name not in CONFIG_MAPPING:
            continue
        try:
            of_class = CONFIG_MAPPING[name]().to_dict()
        except (TypeError, ValueError, ImportError):
            continue  # A class that cannot be made without arguments has no defaults.
        of_class.pop("model_type", None)
        known = {**_OF_EARLIER_VERSIONS, **of_class, **dict.fromkeys(_derived(name, of_class))}
        found[name] = {key: value for key, value in sorted(known.items()) if _is_plain(value)}
    return found


def _derived(name: str, of_class: dict[str, Any]) -> list[str]:
    """Fields that the class derives from others where they are missing: their default is null."""
    from transformers import CONFIG_MAPPING

    width, heads = of_class.get("hidden_size"), of_class.get("num_attention_heads")
    if not isinstance(width, int) or not isinstance(heads, int):
        return []
    try:
        sizes: dict[str, Any] = {"hidden_size": 6 * width, "num_attention_heads": 2 * heads}
        other = CONFIG_MAPPING[name](**sizes).to_dict()
    except Exception:  # A class may refuse the sizes in ways of its own; it derives nothing then.
        return []
    derived = {"head_dim": (6 * width) // (2 * heads), "num_key_value_heads": 2 * heads}
    return [field for field, value in derived.items() if field in of_class and other[field] in (value, None)]


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def main() -> int:
    """Write the file."""
    text = json.dumps(defaults(), sort_keys=True, separators=(",", ":")).replace('},"', '},\n"')
    FILE.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
