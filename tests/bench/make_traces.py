"""Makes the shipped traces (`manager/catalog/data/traces/`) of `tables/shipped_models.txt`; `make traces`.

One process, one thread; prints each model with its time and size and how long the rest may take. A member whose
content (config, tasks, versions of the libraries, sources of the tracer) is unchanged is skipped, so that the program
can be stopped and started again at any time, and two can run side by side (`--shard 1/2`, `--shard 2/2`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from manager.catalog.model_table import known_models
from manager.catalog.models import resolve_entry
from manager.errors import DataError
from manager.profiling.adapt_head import SHIPPED_LABELS
from manager.profiling.archive import (
    LABELLED,
    SHIPPED_DROPOUT,
    SHIPPED_PRECISIONS,
    member_name,
    pack_member,
    shipped_key,
    unpack_header,
)
from manager.profiling.effective_config import without_longest
from tasks.failures import TaskError
from tasks.job import MethodChoice
from tasks.profile import trace
from tasks.protocol import ProtocolError
from tasks.step_trace import TRACE_VERSION, TRACED_WITH, TraceRequest
from tasks.step_trace_codec import trace_to_json
from tasks.tracing.models import build
from tasks.tracing.refusal import RefusedModel

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "manager" / "catalog" / "data" / "traces"
LIST = Path(__file__).with_name("tables") / "shipped_models.txt"
QUANTIZED_TASKS = ("causal-lm",)
METHODS = {
    "full": SHIPPED_PRECISIONS,
    "frozen": SHIPPED_PRECISIONS,
    "lora": ("bf16-mixed", "bf16"),
    "qlora": ("bf16",),
}
"""Methods and the precisions in which they are used; what is not shipped is traced on the spot."""
CPU_METHODS = ("full", "frozen", "lora")
"""Methods that ship with the kernels of a processor, in fp32 and without checkpointing."""
LARGEST_ON_CPU = 500_000_000
"""Parameters; larger models are not tuned on a processor."""
LARGEST_IN_FP32 = 1_500_000_000
"""Parameters; larger models are not tuned in 4-byte products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One member to make."""

    names: tuple[str, ...]
    """Hub ids that share the config."""
    config: dict[str, Any]
    tasks: tuple[str, ...]
    parameters: int | None

    def content(self) -> str:
        """A hash of all that the member depends on."""
        record = [self.config, sorted(self.tasks), TRACE_VERSION, [version(name) for name in TRACED_WITH], _sources()]
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:24]


def main() -> int:
    """Make what is missing; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="REGEX", help="models whose id matches")
    parser.add_argument("--shard", default="1/1", metavar="N/M", help="every M-th model, from the N-th on")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    first, step = map(int, asked.shard.split("/"))
    chosen = [model for model in models() if not asked.only or any(re.search(asked.only, name) for name in model.names)]
    todo = [model for model in chosen[first - 1 :: step] if not _is_made(model, asked.folder)]
    say(f"{len(chosen)} models, {len(todo)} to make")
    asked.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    for number, model in enumerate(todo, start=1):
        before = time.perf_counter()
        content, traces, refused = make(model)
        file = asked.folder / member_name(model.config)
        aside = file.with_suffix(".new")
        aside.write_bytes(content)
        aside.replace(file)
        now = time.perf_counter()
        left_s = (now - started) / number * (len(todo) - number)
        say(
            f"{number}/{len(todo)} {model.names[0]}: {traces} traces, {refused} refused, {now - before:.1f} s, "
            f"{len(content) / 1024:.0f} KiB; about {left_s / 60:.0f} min left"
        )
    total_bytes = sum(file.stat().st_size for file in asked.folder.glob("*.xz"))
    say(f"{total_bytes / 2**20:.2f} MiB in {asked.folder}")
    return 0


def models() -> list[Model]:
    """Models whose traces ship, by their config, in the list's order; other names of the same config with them."""
    wanted = [line for line in LIST.read_text(encoding="utf-8").split() if line]
    unknown = sorted(set(wanted) - set(known_models()))
    if unknown:
        raise SystemExit(f"not in the table of models: {', '.join(unknown)}")
    shipped = {member_name(resolve_entry(name).config) for name in wanted}
    others = [name for name in known_models() if name not in wanted]
    found: dict[str, Model] = {}
    for name in (*wanted, *others):
        try:
            entry = resolve_entry(name)
        except DataError as error:
            say(f"{name}: {error.message}")
            continue
        config = dict(entry.config)
        key = member_name(config)
        if key not in shipped:
            continue
        known = found.get(key)
        names = (*known.names, name) if known else (name,)
        tasks = tuple(dict.fromkeys((*(known.tasks if known else ()), *entry.tasks)))
        # Of configs that allow different lengths, the one with the longest: its traces hold for the others.
        longer = config if known is None or _longest(config) > _longest(known.config) else known.config
        found[key] = Model(names=names, config=longer, tasks=tasks, parameters=entry.parameters)
    return list(found.values())


def _longest(config: dict[str, Any]) -> int:
    return without_longest(config)[1] or 0


def make(model: Model) -> tuple[bytes, int, int]:
    """A member's bytes, and how many traces it holds and how many were refused."""
    traces: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for request in requests(model):
        key = shipped_key(request)
        try:
            traces[key] = trace_to_json(trace(request, with_rank=request.method.kind in ("lora", "qlora")))
        except (RefusedModel, TaskError) as error:
            refused[key] = error.message
    for reason in dict.fromkeys(refused.values()):
        say(f"  {model.names[0]}: {sum(text == reason for text in refused.values())} refused: {reason[:160]}")
    header = {
        "models": model.names,
        "longest": without_longest(model.config)[1],
        "content": model.content(),
        "versions": {name: version(name) for name in TRACED_WITH},
        "per_label": {task: per_label(model, task) for task in model.tasks[:1] if task in LABELLED},
        "refused": refused,
    }
    # The header has them, once for all.
    for record in traces.values():
        record["versions"] = {}
    return pack_member(header, traces), len(traces), len(refused)


def requests(model: Model) -> Iterator[TraceRequest]:
    """What is shipped of one model, for its usual task; traces one after the other share remembered shapes."""
    for kind, precisions in METHODS.items():
        if kind == "qlora" and model.tasks[0] not in QUANTIZED_TASKS:
            continue
        for precision in precisions:
            if precision == "fp32" and (model.parameters or 0) > LARGEST_IN_FP32:
                continue
            yield from _with_and_without_checkpointing(model, kind, precision)
    if (model.parameters or 0) <= LARGEST_ON_CPU:
        for kind in CPU_METHODS:
            for request in _with_and_without_checkpointing(model, kind, "fp32"):
                if not request.gradient_checkpointing:
                    yield replace(request, kernels="cpu")


def _with_and_without_checkpointing(model: Model, kind: str, precision: str) -> Iterator[TraceRequest]:
    for is_checkpointing in (False,) if kind == "frozen" else (False, True):
        yield TraceRequest(
            config=model.config,
            task=model.tasks[0],
            method=MethodChoice(kind=kind, lora_dropout=SHIPPED_DROPOUT),
            precision=precision,
            num_labels=SHIPPED_LABELS,
            gradient_checkpointing=is_checkpointing,
        )


def per_label(model: Model, task: str) -> dict[str, int]:
    """Parameters that one more label adds, and those of them in matrices."""
    request = TraceRequest(config=model.config, task=task, method=MethodChoice(), precision="fp32")
    counts = []
    for labels in (SHIPPED_LABELS, SHIPPED_LABELS + 1):
        try:
            parameters = list(build(replace(request, num_labels=labels)).fresh.model.parameters())
        except RefusedModel:
            return {"elements": 0, "width": 0}
        counts.append((sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.dim() > 1)))
    (few, few_wide), (more, more_wide) = counts
    return {"elements": more - few, "width": more_wide - few_wide}


def say(text: str) -> None:
    """Progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _is_made(model: Model, folder: Path) -> bool:
    try:
        header = unpack_header((folder / member_name(model.config)).read_bytes())
    except (OSError, ProtocolError):
        return False
    return header.get("content") == model.content() and header.get("models") == list(model.names)


def _sources() -> str:
    """A hash of the sources that a trace depends on."""
    names = ("methods", "losses", "optimizers", "quantized", "step", "unfreezing")
    files = [*sorted((ROOT / "tasks" / "tracing").glob("*.py")), *(ROOT / "tasks" / f"{name}.py" for name in names)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
