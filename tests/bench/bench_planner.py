"""Cost of a plan on a catalog of 50,000 offers: cold, and again in a warm process, beside SkyPilot and ftuneai.

    python tests/bench/bench_planner.py [--offers N | --catalogs FOLDER] [--rounds N] [--peer-python PYTHON]

Each command is a fresh process; CPU time and peak memory are those of the process and of the children that it has
waited for. Plans find their data measured (the first ever plan of a data set is its own row) and their steps shipped.
SkyPilot's optimizer gets the same catalogs, one accelerator and no API server, account or provisioning; rows whose
price is no number are taken out of its copy, since it stops at them. ftuneai knows its own 56 prices: give the
interpreter of an environment that holds it. Prints a table and ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.catalog.models import resolve_entry  # noqa: E402
from manager.planner.build import Planner  # noqa: E402
from manager.planner.cheapest import cheapest  # noqa: E402
from manager.planner.plan import Estimate  # noqa: E402
from manager.service.assumptions import read_assumptions  # noqa: E402
from manager.service.context import Context, open_context  # noqa: E402
from manager.service.planning import OpenJob, open_job  # noqa: E402
from manager.service.starting import load_spec  # noqa: E402
from manager.service.variants import VariantSource  # noqa: E402
from manager.spec.model import Budget  # noqa: E402
from tasks.job import TrainingChoice  # noqa: E402
from tests.support.synthetic_market import write_synthetic_catalogs  # noqa: E402

ACCELERATOR = "A100:8"
"""What SkyPilot is asked for."""
TOP = 20
WARM_PLANS = 30
_MIB = 2**20
_WORDS = ("the", "market", "rose", "while", "players", "and", "scientists", "met", "over", "energy", "in", "a", "town")
_JOBS: dict[str, dict[str, Any]] = {
    "llama 3.1 8B, LoRA": {
        "task": "causal-lm",
        "model": "meta-llama/Llama-3.1-8B",
        "data": {"source": "./chats.jsonl", "prompt": "prompt", "completion": "completion"},
        "method": {"kind": "lora", "rank": 16},
        "training": {"epochs": 3, "batch_size": 16, "max_length": 1024, "precision": "bf16", "learning_rate": 1e-4},
    },
    "bert base, full": {
        "task": "text-classification",
        "model": "google-bert/bert-base-uncased",
        "data": {"source": "./news.csv", "text": "text", "label": "label"},
        "method": {"kind": "full"},
        "training": {"epochs": 3, "batch_size": 32, "max_length": 256, "learning_rate": 5e-5},
    },
}
_OPTIMIZE = """
import sys
import sky
from sky import check, optimizer
from sky.utils.registry import CLOUD_REGISTRY
# Accounts are not looked for: every cloud of the catalogs counts as enabled.
clouds = [CLOUD_REGISTRY.from_str(name) for name in sys.argv[2].split(",")]
check.get_cached_enabled_clouds_or_refresh = lambda *args, **options: clouds
with sky.Dag() as dag:
    sky.Task(run="true").set_resources(sky.Resources(accelerators=sys.argv[1]))
optimizer.Optimizer.optimize(dag, quiet=True)
print(dag.tasks[0].best_resources)
"""


_LAUNCH = """
import json, os, sys, time
for number, path in ((1, sys.argv[1]), (2, sys.argv[2])):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number + 10)
started = time.perf_counter()
files = [(os.POSIX_SPAWN_DUP2, 11, 1), (os.POSIX_SPAWN_DUP2, 12, 2)]
child = os.posix_spawnp(sys.argv[3], sys.argv[3:], os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
print(json.dumps({"status": os.waitstatus_to_exitcode(status), "cpu_s": usage.ru_utime + usage.ru_stime,
                  "wall_s": time.perf_counter() - started, "peak_kib": usage.ru_maxrss}))
"""
"""Starts the measured process from a small one: on Linux a child's peak memory is never below that of its parent."""
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    title: str
    cpu_s: float
    wall_s: float
    peak_bytes: float | None
    """None where it is the process's of another row."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or be the warm process that it measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=50_000, help="of the synthetic catalogs")
    parser.add_argument(
        "--catalogs", type=Path, metavar="FOLDER", help="instead of synthetic ones, as SkyPilot has them"
    )
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes of each command; the quickest counts")
    parser.add_argument("--peer-python", metavar="PYTHON", help="interpreter of an environment with ftuneai")
    parser.add_argument("--warm", type=Path, metavar="RUN_FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.warm is not None:
        sys.stdout.write(json.dumps(warm(options.warm, options.catalogs)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogs = options.catalogs
        if catalogs is None:
            catalogs = folder / "catalogs"
            offers = write_synthetic_catalogs(catalogs, offers=options.offers).offers
            sys.stdout.write(f"{offers} offers in synthetic catalogs, ")
        sys.stdout.write(f"{os.cpu_count()} cores, the quickest of {options.rounds} processes\n")
        write_jobs(folder)
        measure(folder, catalogs.resolve(), options.rounds, options.peer_python)
    return 0


def measure(folder: Path, catalogs: Path, rounds: int, peer_python: str | None) -> None:
    """All rows, printed as they come, then the ratios."""
    environment = {**os.environ, "HOME": str(folder / "nobody"), "TUNEFARE_HOME": str(folder / "home")}
    tunefare = [sys.executable, "-m", "manager.cli"]
    sys.stdout.write(f"{'':<58}{'CPU s':>9}{'wall s':>9}{'peak MiB':>10}\n")
    cold = []
    for title in _JOBS:
        file = str(folder / f"{_slug(title)}.yaml")
        plan = [*tunefare, "plan", file, "--json", "--top", str(TOP), "--catalogs", str(catalogs)]
        say(timed(f"plan, {title}: data never seen", plan, folder, environment, rounds=1))
        cold.append(say(timed(f"plan, {title}", plan, folder, environment, rounds=rounds)))
        again = [sys.executable, str(Path(__file__).resolve()), "--warm", file, "--catalogs", str(catalogs)]
        for row in warm_rows(title, again, folder, environment):
            say(row)
    peers = []
    if importlib.util.find_spec("sky") is None:
        sys.stdout.write("SkyPilot is not installed\n")
    else:
        home, clouds = sky_home(folder / "sky", catalogs)
        command = [sys.executable, "-P", "-c", _OPTIMIZE, ACCELERATOR, ",".join(clouds)]
        quiet = {"HOME": str(home), "PATH": os.environ["PATH"], "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
        title = f"SkyPilot's optimizer, {ACCELERATOR} on {len(clouds)} clouds"
        peers.append(say(timed(title, command, folder, quiet, rounds=rounds)))
    if peer_python is None:
        sys.stdout.write("ftuneai: no interpreter given (--peer-python)\n")
    else:
        command = [peer_python, "-m", "ftuneai", "estimate", *_FTUNEAI]
        peers.append(say(timed("ftuneai estimate, llama 3.1 8B, LoRA", command, folder, environment, rounds=rounds)))
    for peer in peers:
        ratios = (cold[0].cpu_s / peer.cpu_s, cold[0].wall_s / peer.wall_s, _ratio(cold[0].peak_bytes, peer.peak_bytes))
        shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(("CPU", "wall", "memory"), ratios, strict=True))
        sys.stdout.write(f"{cold[0].title} / {peer.title}: {shown}\n")


_FTUNEAI = (
    *("--model", "meta-llama/Llama-3.1-8B", "--method", "lora", "--quantization", "none", "--batch-size", "16"),
    *("--seq-length", "1024", "--dataset-size", "2000", "--epochs", "3"),
)


def say(row: Row) -> Row:
    """Print a row."""
    peak = "" if row.peak_bytes is None else f"{row.peak_bytes / _MIB:.0f}"
    sys.stdout.write(f"{row.title:<58}{row.cpu_s:>9.3f}{row.wall_s:>9.3f}{peak:>10}\n")
    sys.stdout.flush()
    return row


def timed(title: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, rounds: int) -> Row:
    """The quickest of several fresh processes: other work on the machine only ever adds."""
    rows = [run(title, command, folder, environment)[0] for _ in range(rounds)]
    return min(rows, key=lambda row: row.cpu_s)


def run(title: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[Row, str]:
    """One process to its end, and what it wrote."""
    out, err = folder / "out", folder / "err"
    launched = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCH, str(out), str(err), *command],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    )
    told = json.loads(launched.stdout)
    if told["status"] != 0:
        raise SystemExit(f"{' '.join(command[:4])} ... ended with {told['status']}: {err.read_text()[-2000:]}")
    row = Row(title=title, cpu_s=told["cpu_s"], wall_s=told["wall_s"], peak_bytes=told["peak_kib"] * 1024)
    return row, out.read_text(encoding="utf-8")


def warm_rows(title: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[Row]:
    """What a process that holds the job open takes for another plan: medians."""
    whole, text = run(title, command, folder, environment)
    told = json.loads(text.splitlines()[-1])
    return [
        Row(title=f"  again, {what}", cpu_s=cpu_s, wall_s=wall_s, peak_bytes=whole.peak_bytes)
        for what, (cpu_s, wall_s) in told.items()
    ]


def warm(run_file: Path, catalogs: Path) -> dict[str, tuple[float, float]]:
    """In the warm process: median CPU and wall seconds of a plan by what has changed."""
    context = open_context()
    job = open_job(context, load_spec(run_file), catalogs=catalogs)
    dearest = job.plan().offers[-1].cost_usd
    assert dearest is not None

    def budget_of(number: int) -> Budget:
        cap = dearest.expected * Decimal(number + 1) / WARM_PLANS + Decimal(number + 1)
        return replace(job.spec.budget, max_usd=cap)

    def other_budget(number: int) -> object:
        return job.planner.rank(job.spec.where, budget_of(number)).top(TOP)

    def other_plan(number: int) -> object:
        return job.plan(replace(job.spec, budget=budget_of(number)))

    def other_batch(number: int) -> object:
        return replanned(context, job, replace(job.spec.training, batch_size=8 * (number + 1)))

    def other_epochs(number: int) -> object:
        return replanned(context, job, replace(job.spec.training, epochs=1.0 + number / 4))

    return {
        f"another budget, {TOP} offers": median_s(other_budget),
        "another budget, a plan to keep": median_s(other_plan),
        f"another batch size, {TOP} offers": median_s(other_batch),
        f"another number of epochs, {TOP} offers": median_s(other_epochs),
    }


def replanned(context: Context, job: OpenJob, training: TrainingChoice) -> list[Estimate]:
    """The cheapest offers with other hyper-parameters, on the market that the open job holds."""
    spec = replace(job.spec, training=training)
    source = VariantSource(
        spec=spec,
        entry=resolve_entry(spec.model.source, spec.model.revision),
        data=job.planner.variants[0].profile.data,
        has_cpu_offers=True,
        cache_dir=context.home.cache_dir,
        timeout_s=float(context.config.number("measure_timeout_s")),
    )
    variants = [source.first(), *source.others(traces_checkpointing=False).variants]
    planner = Planner(job.planner.index, variants, assumptions=read_assumptions(context))
    return cheapest(planner, spec.where, spec.budget, TOP)


def median_s(plan: Callable[[int], object]) -> tuple[float, float]:
    """CPU and wall seconds of one of many plans, each with another change."""
    plan(WARM_PLANS)
    cpu, wall = [], []
    for number in range(WARM_PLANS):
        before = time.process_time(), time.perf_counter()
        plan(number)
        cpu.append(time.process_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    return statistics.median(cpu), statistics.median(wall)


def sky_home(home: Path, catalogs: Path) -> tuple[Path, list[str]]:
    """A home in which SkyPilot finds these catalogs and downloads nothing; the clouds that it knows of them."""
    found = importlib.util.find_spec("sky")
    package = Path((found.submodule_search_locations or [""])[0] if found else "")
    target = home / ".sky" / "catalogs" / "v8"
    names, clouds = set(), []
    for source in sorted(catalogs.glob("*/vms.csv")):
        cloud = source.parent.name
        if not (package / "catalog" / f"{cloud}_catalog.py").exists():
            continue
        clouds.append(cloud)
        (target / cloud).mkdir(parents=True)
        with (
            source.open(encoding="utf-8", newline="") as read,
            (target / cloud / "vms.csv").open("w", newline="") as write,
        ):
            rows = csv.DictReader(read)
            writer = csv.DictWriter(write, rows.fieldnames or ())
            writer.writeheader()
            for row in rows:
                names.add(row["AcceleratorName"])
                if cloud == "gcp" or _is_price(row["Price"]):
                    writer.writerow(row)
    (target / "common").mkdir()
    lines = "".join(f"{name},\"['AWS']\"\n" for name in sorted(names) if name)
    (target / "common" / "accelerators.csv").write_text(f"AcceleratorName,Clouds\n{lines}", encoding="utf-8")
    return home, clouds


def _is_price(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def write_jobs(folder: Path) -> None:
    """The run files and their data, 2,000 samples each."""
    chance = random.Random(0)
    text = [" ".join(chance.choices(_WORDS, k=150)) for _ in range(2000)]
    chats = [json.dumps({"prompt": line[: len(line) // 3], "completion": line[len(line) // 3 :]}) for line in text]
    (folder / "chats.jsonl").write_text("\n".join(chats) + "\n", encoding="utf-8")
    news = [f"{line},{chance.choice('abc')}" for line in text]
    (folder / "news.csv").write_text("\n".join(["text,label", *news]) + "\n", encoding="utf-8")
    for title, job in _JOBS.items():
        run_file = {"schema": 1, "name": "bench", **job, "model": {"source": job["model"]}}
        # JSON is YAML.
        (folder / f"{_slug(title)}.yaml").write_text(json.dumps(run_file), encoding="utf-8")


def _slug(title: str) -> str:
    return title.partition(" ")[0]


def _ratio(ours: float | None, theirs: float | None) -> float:
    return float("nan") if ours is None or not theirs else ours / theirs


if __name__ == "__main__":
    sys.exit(main())
