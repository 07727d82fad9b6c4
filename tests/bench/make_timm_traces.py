"""Makes `tables/timm_traces.xz`: what published rows of timm's models need, for machines without timm.

    python tests/bench/make_timm_traces.py --table FILE.csv [--table ...]

timm and torchvision must be there; `accuracy.py --timm` makes an environment that holds them.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.bench.published.predict import traced_request  # noqa: E402
from tests.bench.published.recipe import recipe_of  # noqa: E402
from tests.bench.published.rows import read_table  # noqa: E402
from tests.bench.published.timm_archive import is_of_timm, name_of, timm_is_there, write  # noqa: E402
from tests.bench.published.traces import Traces, default_folder, key_of  # noqa: E402
from tests.bench.published.words import NotExpressible  # noqa: E402


def main() -> int:
    """Trace what the tables need and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, action="append", required=True, metavar="FILE.csv")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder of kept traces")
    parser.add_argument("--workers", type=int, default=1, help="processes that trace")
    options = parser.parse_args()
    if not timm_is_there():
        sys.exit("error: timm or torchvision is missing here")
    requests = []
    for row in (row for path in options.table for row in read_table(path)):
        try:
            requests.append(traced_request(recipe_of(row)))
        except NotExpressible:
            continue
    wanted = [request for request in requests if is_of_timm(request)]
    traces = Traces(folder=options.cache, workers=options.workers)
    traces.prepare(wanted)
    answers = {name_of(one): (options.cache / f"{key_of(one)}.json").read_text(encoding="utf-8") for one in wanted}
    size = write(answers, {name: version(name) for name in ("timm", "torch", "transformers")})
    sys.stdout.write(f"{len(answers)} traces, {size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
