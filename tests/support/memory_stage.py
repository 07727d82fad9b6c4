"""`tunefare memory` on synthetic steps: traces, data and offers are made up, everything else is the product's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.prices.offer import Offer
from manager.service import memory
from manager.service.context import Context, open_context
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from manager.workload.request import trace_request
from manager.workload.traces import RunTraces
from tasks.step_trace import StepTrace, TraceRequest
from tests.support.cli import write_run_file
from tests.support.plan_factory import make_data, make_gpu_offer
from tests.support.trace_factory import StepShape, make_trace

OFFERS = (
    make_gpu_offer("T4", price="0.50"),
    make_gpu_offer("L4", price="0.80"),
    make_gpu_offer("A100-80GB", price="1.60", count=1),
    make_gpu_offer("A100-80GB", price="12.00", count=8),
    make_gpu_offer("A100-80GB", price="0.10", spot=True),
    make_gpu_offer("H200", price=None),
)


def trace_of(request: TraceRequest, *, layers: int = 22, hidden: int = 2048, caps_logits: bool = False) -> StepTrace:
    """A synthetic decoder's step in the recipe that is asked for; one that caps its logits has no chunked loss."""
    if request.loss == "chunked" and caps_logits:
        raise DataError("no slices here: this model caps its logits")
    shape = StepShape(
        layers=layers,
        hidden=hidden,
        vocabulary=32_000,
        method=request.method.kind,
        precision=request.precision,
        gradient_checkpointing=request.gradient_checkpointing,
        loss=request.loss,
        rank=request.method.lora_rank,
    )
    return replace(make_trace(shape), task=request.task)


def set_stage(
    monkeypatch: pytest.MonkeyPatch, *, data: DataStats | None = None, caps_logits: bool = False, **shape: int
) -> list[TraceRequest]:
    """Replace what would read data, trace and look for prices; gives the requests as they come."""
    asked: list[TraceRequest] = []

    def traced(request: TraceRequest, **_: Any) -> StepTrace:
        asked.append(request)
        return trace_of(request, caps_logits=caps_logits, **shape)

    def traces(spec: RunSpec, entry: Any, *, data: DataStats, **_: Any) -> RunTraces:
        request = trace_request(spec, entry.config, num_labels=len(data.labels))
        rank = spec.method.lora_rank if spec.method.kind in ("lora", "qlora") else None
        return RunTraces(cuda=traced(request), rank=rank)

    stats = data or make_data(samples=4000, tokens=300, longest=1024)
    replaced: dict[str, Callable[..., Any]] = {
        "measure_data": lambda spec, **_: stats,
        "run_traces": traces,
        "trace_for": traced,
        "gathered_offers": _offers,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(memory, name, value)
    return asked


def _offers(context: Context) -> tuple[Offer, ...]:
    return OFFERS


def run_file(folder: Path, **parts: Any) -> Path:
    """A run file of a language model of the shipped table."""
    given: dict[str, Any] = {
        "model": "meta-llama/Llama-3.2-1B",
        "data": folder / "data.jsonl",
        "task": "causal-lm",
        "training": {"batch_size": 16, "max_length": 1024, "precision": "bf16"},
        **parts,
    }
    (folder / "data.jsonl").write_text('{"text": "a b c"}\n', encoding="utf-8")
    return write_run_file(folder, **given)


def report_of(folder: Path, layout: memory.Layout | None = None, **parts: Any) -> memory.MemoryReport:
    """The service's answer for a run file."""
    spec = load_spec(run_file(folder, **parts))
    return memory.memory_report(open_context(), spec, layout or memory.Layout())
