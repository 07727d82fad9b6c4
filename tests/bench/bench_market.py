"""How long a folder of price catalogs takes to read, and how much memory: the first time, and from the parsed cache.

Writes a synthetic market and reads it in processes of their own, so that neither the writing nor an earlier reading
is counted: `python -m tests.bench.bench_market [OFFERS [FOLDER]]`. With FOLDER real catalogs are read instead.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.synthetic_market import write_synthetic_catalogs

_REPEATS = 5


def main(offers: int = 50_000, folder: Path | None = None) -> None:
    """Print one line for each way of reading: CPU seconds and peak memory, the least of five."""
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch) / "v8"
            written = write_synthetic_catalogs(folder, offers)
            print(f"{written.rows:,} rows, {written.offers:,} offers")  # noqa: T201
        cache = Path(scratch) / "cache"
        nothing = _least("nothing", folder, None)
        _show("imports alone", nothing, nothing)
        _show("first reading, no cache", _least("read", folder, None), nothing)
        _show("first reading, writes the cache", _measured("read", folder, cache), nothing)
        _show("from the cache", _least("read", folder, cache), nothing)


def _least(what: str, folder: Path, cache: Path | None) -> dict[str, float]:
    runs = [_measured(what, folder, cache) for _ in range(_REPEATS)]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def _measured(what: str, folder: Path, cache: Path | None) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.bench_market", "--child", what, str(folder), str(cache or "")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _child(what: str, folder: Path, cache: Path | None) -> None:
    from manager.prices.sky_catalog import read_catalogs  # Its import is part of no measurement.

    start_s = time.process_time()
    quotes = 0
    if what == "read":
        market = read_catalogs(folder, now_s=time.time(), cache=cache)
        quotes = sum(len(rental.quotes) for rental in market.rentals)
    cpu_s = time.process_time() - start_s
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"cpu_s": cpu_s, "peak_bytes": peak_bytes, "quotes": quotes}))  # noqa: T201


def _show(what: str, found: dict[str, float], nothing: dict[str, float]) -> None:
    own_mib = (found["peak_bytes"] - nothing["peak_bytes"]) / 2**20
    print(  # noqa: T201
        f"{what:32} {found['cpu_s']:6.3f} s CPU, {found['peak_bytes'] / 2**20:6.1f} MiB peak "
        f"({own_mib:.1f} MiB above the imports), {found['quotes']:,.0f} quotes"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4] else None)
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 50_000, Path(sys.argv[2]) if sys.argv[2:] else None)
