"""Predict every row of a table of published measurements and print the errors by source.

    python tests/bench/accuracy.py --table FILE.csv [--table ...] [--json] [--rows OUT.csv]

The first run traces each distinct recipe (seconds each, in `--workers` processes); a second one finds them in --cache.
The table for people sums up complete rows and rows with inferred conditions apart; --json has all wanted rows.
Rows of timm's models that `tables/timm_traces.xz` does not hold need --timm.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.bench.published.evaluate import outcomes_of  # noqa: E402
from tests.bench.published.report import summary, table_text, write_rows  # noqa: E402
from tests.bench.published.rows import TableError, read_table  # noqa: E402
from tests.bench.published.timm_archive import timm_is_there  # noqa: E402
from tests.bench.published.timm_environment import NoTimmError, run_with_timm  # noqa: E402
from tests.bench.published.traces import Traces, default_folder  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    options = _parser().parse_args(arguments)
    try:
        rows = [row for path in options.table for row in read_table(path)]
        wanted = [row for row in rows if options.confidence in ("all", row.text("confidence") or "complete")]
        if options.timm and not timm_is_there():
            run_with_timm([__file__, *(sys.argv[1:] if arguments is None else arguments)], options.cache / "with-timm")
        outcomes = outcomes_of(wanted, Traces(folder=options.cache, workers=options.workers, tell=_tell))
        if options.rows:
            write_rows(options.rows, outcomes)
    except (TableError, NoTimmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(summary(outcomes), indent=1) if options.json else table_text(outcomes))  # noqa: T201
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, action="append", required=True, metavar="FILE.csv")
    parser.add_argument("--json", action="store_true", help="figures for programs, all rows of the wanted confidence")
    parser.add_argument("--rows", type=Path, metavar="OUT.csv", help="write each prediction beside its measurement")
    parser.add_argument("--confidence", choices=("all", "complete", "partial"), default="all")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder of kept traces")
    parser.add_argument("--timm", action="store_true", help="trace timm's models too, in an environment made aside")
    parser.add_argument("--workers", type=int, default=1, help="processes that trace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
