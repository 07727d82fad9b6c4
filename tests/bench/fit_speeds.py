"""Fit the efficiencies of accelerators to published step times and write them as the product's dated tables.

    python tests/bench/fit_speeds.py --tables DIR [--write] [--as-of YYYY-MM-DD] [--cache DIR] [--workers N]

DIR holds CSV files in the schema that `tests/bench/published/rows.py` reads. Only rows marked complete, with samples of
one length, are fitted. Errors are shown of the fit itself, of fits that saw no row of that model in that source, and of
fits that saw no row of that source; the bands written are of the last two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from math import log
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.workload.efficiencies import EFFICIENCY_NAMES, Efficiencies, Software, software  # noqa: E402
from manager.workload.roofline import UntimedWorkError  # noqa: E402
from tests.bench.published.evaluate import Traced, traced_rows  # noqa: E402
from tests.bench.published.predict import family_name, measured_step_s, software_name, step_s_of  # noqa: E402
from tests.bench.published.rows import read_table  # noqa: E402
from tests.bench.published.traces import Traces, default_folder  # noqa: E402
from tests.bench.speed_fit import FitRow, fit, left_out_errors, model_folds  # noqa: E402
from tests.bench.speed_tables import error_table, write_tables  # noqa: E402

_FOLDS = 6
_TABLES = ROOT / "manager" / "workload" / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fit."""
    options = _parser().parse_args(arguments)
    rows = [row for path in sorted(options.tables.glob("*.csv")) for row in read_table(path)]
    complete = [row for row in rows if row.text("confidence") == "complete"]
    traced, _ = traced_rows(complete, Traces(folder=options.cache, workers=options.workers))
    fit_rows = list(_fit_rows(traced))
    if not fit_rows:
        print("error: no row has a step time that can be predicted", file=sys.stderr)  # noqa: T201
        return 2
    fitted = fit(fit_rows)
    errors = left_out_errors(fit_rows, group=lambda row: row.source)
    own = {row.id: log(row.measured_s / fitted.predicted_s(row)) for row in fit_rows}
    models = left_out_errors(fit_rows, group=model_folds(fit_rows, folds=_FOLDS))
    for title, found in (("fitted", own), ("model left out", models), ("source left out", errors)):
        print(f"\n{title}\n" + error_table(fit_rows, found, group=lambda row: "all"))  # noqa: T201
        print(error_table(fit_rows, found, group=lambda row: f"{row.source[:30]} {row.family} {row.software}"))  # noqa: T201
    if options.write and not options.as_of:
        print("error: tables are dated: give --as-of", file=sys.stderr)  # noqa: T201
        return 2
    if options.write:
        write_tables(fitted, fit_rows, errors, models, _TABLES, as_of=options.as_of)
    return 0


def _fit_rows(traced: Sequence[Traced]) -> Iterator[FitRow]:
    start = software("eager")
    for one in traced:
        measured_s = measured_step_s(one.recipe)
        if measured_s is None or one.recipe.accelerator is None or one.recipe.time_refusal:
            continue
        if one.recipe.samples.mean_length != one.recipe.samples.length:
            # The mean of lengths that vary is seldom published: such rows are predicted elsewhere and not fitted.
            continue
        try:
            step_s_of(one.recipe, one.trace, None, start)
        except UntimedWorkError:
            continue
        yield FitRow(
            id=one.recipe.row.text("id"),
            source=one.recipe.row.source,
            model=one.recipe.row.text("model"),
            family=family_name(one.recipe),
            software=software_name(one.recipe),
            measured_s=measured_s,
            seconds=partial(_seconds, one),
        )


def _seconds(one: Traced, efficiencies: Efficiencies, chosen: Software) -> float:
    return step_s_of(one.recipe, one.trace, efficiencies, chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fit efficiencies to published step times.", allow_abbrev=False)
    parser.add_argument("--tables", type=Path, required=True, help="folder of tables of published measurements")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {len(EFFICIENCY_NAMES)} constants")
    parser.add_argument("--as-of", default="", help="date of the fit, YYYY-MM-DD; needed to write")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="where traces are kept")
    parser.add_argument("--workers", type=int, default=1, help="processes that trace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
