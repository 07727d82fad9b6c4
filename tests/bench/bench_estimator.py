"""What an estimate costs: cold and warm plans and memory answers, and tracing beside torch's own tools.

Commands run in fresh processes as a user starts them; CPU time is that of the process and of all that it starts. "Seen"
models are in the shipped archive, "unseen" ones are folders with a config.json of sizes that nobody has. The peers of
the tracer run the same training step of the same model on fake tensors: FlopCounterMode (work), and MemTracker
(memory). They answer for one batch and length; a trace answers for all. Prints tables, asserts nothing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.cli import write_news, write_run_file

ROUNDS = 3
SEEN = "google-bert/bert-base-uncased"
_DECODER: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 50_021,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
_BATCH, _LENGTH = 4, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One measured thing."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    title: str
    timing: Timing
    goal: str = ""


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*_commands(folder), *_warm(folder)]
    _print(f"{os.cpu_count()} cores; commands: best of {ROUNDS} fresh processes, unseen ones once", rows)
    _print(f"one step of an unseen decoder of 22 layers, micro-batch {_BATCH} x {_LENGTH} tokens", _peers())


def _commands(folder: Path) -> list[Row]:
    seen, unseen = folder / "seen", folder / "unseen"
    _write_seen(seen)
    _write_unseen(unseen, layers=22)
    return [
        Row(title="plan, shipped trace, data never seen", timing=_command(seen, "plan", fresh=True), goal="1 s CPU"),
        Row(title="plan, shipped trace", timing=_best(seen, "plan"), goal="1 s CPU"),
        Row(title="memory, shipped trace", timing=_best(seen, "memory")),
        Row(title="plan, unseen model", timing=_command(unseen, "plan", fresh=True), goal="15 s wall"),
        Row(title="plan, the same again", timing=_best(unseen, "plan"), goal="1 s CPU"),
        Row(title="memory, the same", timing=_best(unseen, "memory")),
    ]


def _warm(folder: Path) -> list[Row]:
    """In this process: its tracing worker is warm after the first unseen model."""
    from manager.service.context import open_context
    from manager.service.planning import plan_job
    from manager.service.starting import load_spec

    os.environ["TUNEFARE_HOME"] = str(folder / "warm-home")
    first, second = folder / "warm-1", folder / "warm-2"
    _write_unseen(first, layers=23)
    _write_unseen(second, layers=27)
    context = open_context()
    specs = [load_spec(place / "tunefare.yaml") for place in (first, second)]
    plan_job(context, specs[0])
    return [
        Row(
            title="plan, unseen model, warm process",
            timing=_timed(lambda: plan_job(context, specs[1])),
            goal="2 s wall",
        ),
        Row(title="plan, known model, warm process", timing=_timed(lambda: plan_job(context, specs[1]))),
        Row(title="memory, known model, warm process", timing=_timed(lambda: _memory(context, specs[1]))),
    ]


def _memory(context: Any, spec: Any) -> None:
    from manager.service.memory import Layout, memory_report

    memory_report(context, spec, Layout(card="H100"))


def _peers() -> list[Row]:
    """The tracer's answer for any batch and length, beside one pass of each of torch's tools at one of them."""
    from tasks.job import MethodChoice
    from tasks.profile import trace
    from tasks.step_trace import TraceRequest

    request = TraceRequest(
        config={**_DECODER, "num_hidden_layers": 22},
        task="causal-lm",
        method=MethodChoice(kind="full"),
        precision="bf16",
    )
    trace(
        TraceRequest(
            config={**_DECODER, "num_hidden_layers": 3}, task="causal-lm", method=request.method, precision="bf16"
        )
    )
    ours = _timed(lambda: trace(request))
    _fake_step(layers=2, watch=None)
    flops = _timed(lambda: _fake_step(layers=22, watch="flops"))
    memory = _timed(lambda: _fake_step(layers=22, watch="memory"))
    rows = [
        Row(title="trace: work and memory, any batch", timing=ours),
        Row(title="FlopCounterMode: FLOPs, this batch", timing=flops),
        Row(title="MemTracker: memory, this batch", timing=memory),
    ]
    ratio = ours.wall_s / (flops.wall_s + memory.wall_s)
    sys.stdout.write(f"time of a trace over that of both tools together: {ratio:.2f}\n")
    return rows


def _fake_step(*, layers: int, watch: str | None) -> None:
    """Forward, backward and AdamW's step of the decoder on fake tensors, watched by one of torch's tools."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {name: value for name, value in _DECODER.items() if name not in ("model_type", "architectures")}
    with FakeTensorMode():
        build: Any = LlamaForCausalLM
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = build(LlamaConfig(**sizes, num_hidden_layers=layers))
        finally:
            torch.set_default_dtype(torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        tokens = torch.zeros(_BATCH, _LENGTH, dtype=torch.long)
        watching: Any = {"flops": FlopCounterMode(display=False), "memory": MemTracker()}.get(watch or "")
        if watch == "memory":
            watching.track_external(model, optimizer)
        if watching is not None:
            watching.__enter__()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        if watching is not None:
            watching.__exit__(None, None, None)


def _write_seen(folder: Path) -> None:
    folder.mkdir()
    write_run_file(folder, model=SEEN, data=write_news(folder))


def _write_unseen(folder: Path, *, layers: int) -> None:
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({**_DECODER, "num_hidden_layers": layers}), encoding="utf-8")
    lines = [json.dumps({"text": "tuning costs time and money " * (5 + row % 60)}) for row in range(400)]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    training = {"batch_size": 16, "max_length": 512, "precision": "bf16"}
    write_run_file(folder, model=model, data=folder / "texts.jsonl", task="causal-lm", training=training)


def _command(folder: Path, verb: str, *, fresh: bool = False) -> Timing:
    """`tunefare VERB` in a fresh process.

    Args:
        folder: of the run file.
        verb: plan or memory.
        fresh: whether nothing is known of earlier calls.
    """
    home = tempfile.mkdtemp(dir=folder) if fresh else str(folder / "home")
    arguments = ["memory", "--gpu", "H100"] if verb == "memory" else ["plan"]
    environment = {**os.environ, "TUNEFARE_HOME": home, "HF_HUB_OFFLINE": "1"}
    return _timed(lambda: _run([str(Path(sys.executable).parent / "tunefare"), *arguments], folder, environment))


def _best(folder: Path, verb: str) -> Timing:
    """The quickest of several rounds after one that fills the cache: other work on the machine only ever adds."""
    _command(folder, verb)
    return min((_command(folder, verb) for _ in range(ROUNDS)), key=lambda timing: timing.wall_s)


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _timed(work: Callable[[], Any]) -> Timing:
    before, started = _cpu_s(), time.perf_counter()
    work()
    return Timing(wall_s=time.perf_counter() - started, cpu_s=_cpu_s() - before)


def _cpu_s() -> float:
    """Of this process, of its children that have ended, and of those that still run (the tracing worker)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.ru_utime + one.ru_stime for one in used) + sum(one.user + one.system for one in running)


def _print(title: str, rows: Sequence[Row]) -> None:
    sys.stdout.write(f"{title}\n{'':<42}{'wall s':>9}{'CPU s':>9}  goal\n")
    for row in rows:
        sys.stdout.write(f"{row.title:<42}{row.timing.wall_s:>9.2f}{row.timing.cpu_s:>9.2f}  {row.goal}\n")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
