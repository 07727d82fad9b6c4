"""The same published rows, predicted by this project and by other estimators, side by side.

    python tests/bench/peers.py --table FILE.csv [--table ...] [--markdown] [--python PYTHON]

Other estimators run in a scratch environment of their own, made with pip unless --python names one that holds ftuneai,
canifinetune and llm-analysis. A row counts for a peer where the peer answers; this project is judged on the very
same rows. Peers state one total, which is compared with whatever the row measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.catalog.accelerators import accelerator  # noqa: E402
from tests.bench.published.evaluate import Traced, traced_rows  # noqa: E402
from tests.bench.published.predict import in_unit, predicted  # noqa: E402
from tests.bench.published.rows import read_table  # noqa: E402
from tests.bench.published.traces import Traces, default_folder  # noqa: E402

PEERS = ("ftuneai", "canifinetune", "llm-analysis", "accelerate's rule", "DeepSpeed's rule")
_PACKAGES = ("ftuneai", "canifinetune")
_WITHOUT_DEPENDENCIES = ("llm-analysis", "fire", "termcolor")
"""llm-analysis asks for versions that exclude the others; these parts of it run with what is there."""
_ADAPTERS = Path(__file__).with_name("peer_adapters.py")
_TIMEOUT_S = 900
_FALSE_FIT = 0.10
"""Predicted this share too low: a run that would have been said to fit and did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One figure of one row, by a peer and by this project, as relative errors."""

    theirs: float
    ours: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, action="append", required=True, metavar="FILE.csv")
    parser.add_argument("--markdown", action="store_true", help="as the tables of docs/accuracy.md")
    parser.add_argument("--python", type=Path, help="interpreter of an environment that holds the peers")
    parser.add_argument("--cache", type=Path, default=default_folder(), help="folder of kept traces")
    options = parser.parse_args(arguments)
    rows = [row for path in options.table for row in read_table(path)]
    found, _ = traced_rows(rows, Traces(folder=options.cache, workers=1))
    with tempfile.TemporaryDirectory() as scratch:
        python = options.python or _environment(Path(scratch))
        answers = _ask(python, [_asked(one, number, peer) for number, one in enumerate(found) for peer in PEERS])
    lines = ["| peer | figure | rows | its median | its 90 % | its false fits | ours: median | 90 % | false fits |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for peer in PEERS:
        memory, time = _pairs(found, answers, peer)
        lines += [_line(peer, "memory", memory), _line(peer, "step time", time)]
    text = "\n".join(line for line in lines if line)
    sys.stdout.write((text if options.markdown else text.replace("|", " ")) + "\n")
    return 0


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    for extra, names in ((), _PACKAGES), (("--no-deps",), _WITHOUT_DEPENDENCIES):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *extra, *names], check=True, timeout=_TIMEOUT_S)
    return python


def _ask(python: Path, asked: Sequence[dict[str, Any]]) -> dict[tuple[int, str], dict[str, Any]]:
    lines = "\n".join(json.dumps(one) for one in asked) + "\n"
    done = subprocess.run(
        [python, str(_ADAPTERS)], input=lines, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
    )
    # A peer may print; its answers are the lines that are objects.
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"id"')]
    return {(answer["id"], answer["peer"]): answer for answer in answers}


def _asked(one: Traced, number: int, peer: str) -> dict[str, Any]:
    request, trace = one.recipe.request, one.trace
    config = {**request.config, **request.config.get("text_config", {})}
    hidden = config.get("hidden_size") or config.get("n_embd") or config.get("d_model") or 0
    heads = config.get("num_attention_heads") or config.get("n_head") or config.get("n_heads") or 1
    card = accelerator(one.recipe.accelerator) if one.recipe.accelerator else None
    return {
        "id": number,
        "peer": peer,
        "decoder": request.task == "causal-lm",
        "gated": config.get("hidden_act", "silu") == "silu",
        "family": trace.model_type,
        "model": config.get("_name_or_path") or one.recipe.row.text("model"),
        "method": request.method.kind,
        "rank": request.method.lora_rank,
        "all_linear": request.method.lora_targets == "all-linear" or len(request.method.lora_targets) > 4,
        "precision": request.precision,
        "batch": one.recipe.batch,
        "length": one.recipe.samples.length,
        "optimizer": {"adamw-foreach": "adamw", "adamw-loop": "adamw", "sgd-momentum": "sgd"}.get(
            request.optimizer, request.optimizer
        ),
        "checkpointing": request.gradient_checkpointing,
        "flash": request.attention in ("auto", "flash"),
        "gpus": one.recipe.layout.gpus,
        "sharding": "fsdp" if one.recipe.layout.sharding in ("fsdp", "zero3") else "none",
        "dims": {
            "hidden": hidden,
            "layers": trace.layers,
            "heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads,
            "intermediate": config.get("intermediate_size") or config.get("n_inner") or 4 * hidden,
            "vocabulary": config.get("vocab_size") or 0,
            "parameters": trace.parameters,
            "positions": config.get("max_position_embeddings") or config.get("n_positions"),
            "tied": bool(config.get("tie_word_embeddings", True)),
        },
        "gpu": {
            "name": card.name if card else "A100-80GB",
            "memory_bytes": card.memory_bytes if card else 80 * 2**30,
            "bf16_flops_per_s": (card.peak_bf16_flops_per_s or card.peak_fp16_flops_per_s) if card else None,
            "fp32_flops_per_s": card.peak_fp32_flops_per_s if card else None,
            "bandwidth_bytes_per_s": (card.memory_bandwidth_bytes_per_s if card else None) or 1e12,
        },
    }


def _pairs(
    found: Sequence[Traced], answers: dict[tuple[int, str], dict[str, Any]], peer: str
) -> tuple[list[Pair], list[Pair]]:
    memory: list[Pair] = []
    time: list[Pair] = []
    for number, one in enumerate(found):
        answer, ours, recipe = answers.get((number, peer)), predicted(one.recipe, one.trace), one.recipe
        if answer is None:
            continue
        if recipe.memory is not None and ours.memory is not None and answer["memory_bytes"] is not None:
            measured = recipe.memory.value
            theirs = answer["memory_bytes"] / recipe.memory.unit_bytes
            memory.append(Pair(theirs=theirs / measured - 1, ours=ours.memory / measured - 1))
        if recipe.rate is not None and ours.rate is not None and answer["step_s"]:
            rate = in_unit(recipe, answer["step_s"] * recipe.micro_batches)
            time.append(Pair(theirs=rate / recipe.rate.value - 1, ours=ours.rate / recipe.rate.value - 1))
    return memory, time


def _line(peer: str, figure: str, pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    theirs, ours = [pair.theirs for pair in pairs], [pair.ours for pair in pairs]
    cells = [peer, figure, str(len(pairs)), *_summary(theirs, figure), *_summary(ours, figure)]
    return f"| {' | '.join(cells)} |"


def _summary(errors: Iterable[float], figure: str) -> list[str]:
    known = list(errors)
    sizes = sorted(abs(error) for error in known)
    high = sizes[min(len(sizes) - 1, round(0.9 * (len(sizes) - 1)))]
    low = sum(error < -_FALSE_FIT for error in known) / len(known)
    return [f"{statistics.median(sizes):.1%}", f"{high:.1%}", f"{low:.1%}" if figure == "memory" else ""]


if __name__ == "__main__":
    sys.exit(main())
