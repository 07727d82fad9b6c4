"""What a key press in the Plan screen costs: CPU milliseconds of a plan again, by what was changed, over 50,000 offers.

    python tests/bench/bench_tui_replan.py [--offers N | --catalogs FOLDER] [--rounds N]

One process holds the market open, as the screen does. `quick` is what a change waits for; `whole` is the plan itself,
which follows when nobody types. Each round asks something that was not asked before. CPU is that of the asking thread;
children that measure data are not waited for by a quick answer, and are not counted. The ratio is against a plan from
nothing in the same process. Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.config import read_config  # noqa: E402
from manager.paths import Home  # noqa: E402
from manager.service.context import Context  # noqa: E402
from manager.service.replanning import PlanSession  # noqa: E402
from manager.service.starting import load_spec  # noqa: E402
from manager.spec.model import RunSpec  # noqa: E402
from tests.bench.bench_planner import write_jobs  # noqa: E402
from tests.support.synthetic_market import write_synthetic_catalogs  # noqa: E402

_CLOUDS = ("aws", "gcp", "azure", "oci", "ibm", "lambda", "runpod", "nebius")
_CARDS = ("L4", "A100", "A100-80GB", "H100", "A10G", "L40S", "V100", "T4")
_REGIONS = tuple(f"{area}-{number}" for area in ("us-east", "us-west", "eu-north") for number in (1, 2, 3))
Change = Callable[[RunSpec, int], RunSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table, in milliseconds of CPU."""

    title: str
    quick: list[float]
    whole: list[float]


def _budget(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, budget=replace(spec.budget, max_usd=Decimal(2 + number) / 2))


def _deadline(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, budget=replace(spec.budget, deadline_hours=0.5 + number / 7))


def _confidence(spec: RunSpec, number: int) -> RunSpec:
    budget = replace(spec.budget, max_usd=Decimal(5 + number), confidence=0.9)
    return replace(spec, budget=budget)


def _clouds(spec: RunSpec, number: int) -> RunSpec:
    first, second = _CLOUDS[number % len(_CLOUDS)], _CLOUDS[number // len(_CLOUDS) % len(_CLOUDS)]
    return replace(spec, where=replace(spec.where, clouds=tuple({first, second})))


def _regions(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, where=replace(spec.where, regions=(_REGIONS[number % len(_REGIONS)],)))


def _accelerators(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, where=replace(spec.where, accelerators=(_CARDS[number % len(_CARDS)],)))


def _spot(spec: RunSpec, number: int) -> RunSpec:
    budget = replace(spec.budget, max_usd=Decimal(100 + number))
    return replace(spec, budget=budget, where=replace(spec.where, spot=number % 2 == 0))


def _nodes(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, where=replace(spec.where, max_nodes=2 + number % 3))


def _epochs(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, training=replace(spec.training, epochs=1.0 + number / 8))


def _batch(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, training=replace(spec.training, batch_size=4 * (number + 1)))


def _rank(spec: RunSpec, number: int) -> RunSpec:
    return replace(spec, method=replace(spec.method, lora_rank=2 * (number + 1)))


_CHANGES: dict[str, Change] = {
    "budget": _budget,
    "deadline": _deadline,
    "budget kept at 90 %": _confidence,
    "clouds": _clouds,
    "regions": _regions,
    "accelerators": _accelerators,
    "spot": _spot,
    "number of machines": _nodes,
    "epochs": _epochs,
    "batch size": _batch,
    "LoRA rank": _rank,
}


def main() -> int:
    """Print a table for each job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=50_000)
    parser.add_argument("--catalogs", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunefare-bench-") as name:
        folder = Path(name)
        catalogs = asked.catalogs
        if catalogs is None:
            catalogs = folder / "catalogs"
            written = write_synthetic_catalogs(catalogs, asked.offers)
            sys.stdout.write(f"{written.offers:,} offers in {written.rows:,} rows\n")
        write_jobs(folder)
        for run_file in sorted(folder.glob("*.yaml")):
            show(run_file, catalogs, folder, rounds=asked.rounds)
    return 0


def show(run_file: Path, catalogs: Path, folder: Path, *, rounds: int) -> None:
    """Print the table of one job."""
    home = Home(root=folder / "home")
    config = read_config(home.config_file, {})
    context = Context(home=home, config=config, environment={}, user_home=folder, clock=time.time)
    spec = load_spec(run_file)
    PlanSession(context, catalogs=catalogs).whole(spec)  # Data measured, catalogs parsed: as on any day but the first.
    session = PlanSession(context, catalogs=catalogs)
    opened_ms = cpu_ms(lambda: session.answer(spec))
    whole_ms = cpu_ms(lambda: session.whole(spec))
    sys.stdout.write(f"\n{spec.name} {run_file.stem}: opened in {opened_ms:.0f} ms, its whole plan {whole_ms:.0f} ms\n")
    sys.stdout.write(f"{'change':<22}{'quick p50':>11}{'p99':>8}{'whole p50':>11}{'p99':>8}{'opened / quick':>16}\n")
    for title, change in _CHANGES.items():
        if title == "LoRA rank" and spec.method.kind != "lora":
            continue
        row = measured(session, spec, title, change, rounds)
        ratio = opened_ms / statistics.median(row.quick)
        quick, whole = _told(row.quick), _told(row.whole)
        sys.stdout.write(f"{row.title:<22}{quick[0]:>11}{quick[1]:>8}{whole[0]:>11}{whole[1]:>8}{ratio:>15.1f}x\n")
        sys.stdout.flush()


def measured(session: PlanSession, spec: RunSpec, title: str, change: Change, rounds: int) -> Row:
    """Ask round after round, each time something else."""
    session.answer(spec)
    row = Row(title=title, quick=[], whole=[])
    for number in range(rounds):
        asked = change(spec, number)
        gc.collect()
        row.quick.append(cpu_ms(lambda asked=asked: session.answer(asked)))  # type: ignore[misc]
        row.whole.append(cpu_ms(lambda asked=asked: session.whole(asked)))  # type: ignore[misc]
    return row


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of this process."""
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1000


def _told(values: list[float]) -> tuple[str, str]:
    ordered = sorted(values)
    worst = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{statistics.median(ordered):.1f}", f"{worst:.1f}"


if __name__ == "__main__":
    sys.exit(main())
