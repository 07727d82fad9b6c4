"""Every row of the table of models against the modules that transformers builds, and against published totals.

Then every model type that transformers knows: whether its row is right, and whether its default config is refused.
Prints what differs and how many were compared; the exit code is 1 when something differs. Takes about two minutes of
one core. Run it after a change to the tables of the catalog or a new version of transformers:
`python -m tests.bench.bench_catalog [PART OF AN ID]`.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import transformers

from manager.catalog.config_check import checked_config
from manager.errors import DataError
from tests.support import model_types
from tests.support.meta_models import backbone_parameters, published_count

_ROOT = Path(__file__).parents[2]
_MODELS = _ROOT / "manager" / "catalog" / "data" / "models.csv"
_TYPES = _ROOT / "manager" / "catalog" / "data" / "model_types.csv"
_PUBLISHED = _ROOT / "tests" / "unit" / "catalog" / "published_parameters.csv"


def main(part: str = "") -> int:
    """Compare all rows whose id holds `part`."""
    published = {row["id"]: row for row in _rows(_PUBLISHED)}
    compared = totals = wrong = 0
    for row in _rows(_MODELS):
        if part not in row["id"]:
            continue
        config = json.loads(row["config"])
        compared += 1
        found = backbone_parameters(config, tuple(row["tasks"].split(";")))
        if found != int(row["parameters"]):
            wrong += 1
            print(f"{row['id']}: the table says {row['parameters']} parameters, the module has {found}")  # noqa: T201
        if total := published.get(row["id"]):
            totals += 1
            found = published_count(config, total["counted"])
            if found != int(total["parameters"]):
                wrong += 1
                print(f"{row['id']}: published {total['parameters']} ({total['counted']}), built {found}")  # noqa: T201
    version = transformers.__version__
    print(f"{compared} rows built with transformers {version}, {totals} published totals, {wrong} differences")  # noqa: T201
    wrong += _compare_types()
    return 1 if wrong else 0


def _compare_types() -> int:
    """Rows of the table of model types that are not as transformers says, and default configs that are refused."""
    table = _rows(_TYPES)
    wrong = sum(1 for row in model_types.rows() if row not in table)
    refused = checked = 0
    for row in table:
        config = model_types.default_config(row["model_type"])
        if config is None:
            continue
        checked += 1
        try:
            checked_config(config, row["model_type"])
        except DataError as error:
            refused += 1
            print(error.message)  # noqa: T201
    print(f"{len(table)} model types, {wrong} rows differ; {checked} default configs, {refused} refused")  # noqa: T201
    return wrong


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
