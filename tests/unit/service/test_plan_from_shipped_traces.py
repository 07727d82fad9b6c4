"""Plan and memory of popular models where torch is not installed: the step comes from the shipped archive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from manager.profiling.trace_worker import TraceWorker
from manager.service.context import open_context
from manager.service.memory import Layout, memory_report
from manager.service.planning import plan_job
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from tests.support.cli import write_news, write_run_file

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers")


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the libraries nor a process that would trace."""
    for name in _LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)

    def started(_: TraceWorker) -> None:
        raise AssertionError("the tracing process was started")

    monkeypatch.setattr(TraceWorker, "start", started)


def spec_of(folder: Path, model: str, **parts: Any) -> RunSpec:
    """A classifier of short news."""
    return load_spec(write_run_file(folder, model=model, data=write_news(folder), **parts))


@pytest.mark.parametrize(
    ("model", "method", "precision", "parameters"),
    [
        ("google-bert/bert-base-uncased", "full", "fp32", 109_484_547),
        ("google-bert/bert-base-uncased", "lora", "bf16", None),
        ("FacebookAI/roberta-base", "frozen", "bf16-mixed", 124_647_939),
    ],
)
def test_a_plan_of_a_shipped_model(
    tmp_path: Path, model: str, method: str, precision: str, parameters: int | None
) -> None:
    spec = spec_of(tmp_path, model, method={"kind": method}, training={"precision": precision})
    plan = plan_job(open_context(), spec)
    assert plan.chosen == 0
    assert plan.profile.method == method
    # Three labels: the shipped trace has two and is brought to the data's.
    assert plan.profile.num_labels == 3
    assert parameters is None or plan.profile.parameters == parameters
    assert "traced" in plan.profile.basis
    best = plan.offers[0]
    assert best.memory is not None
    assert best.training_hours is not None
    assert best.training_hours.expected > 0


def test_memory_of_a_shipped_model_with_its_fixes(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        "google-bert/bert-base-uncased",
        training={"batch_size": 4096, "max_length": 512, "precision": "bf16-mixed"},
    )
    report = memory_report(open_context(), spec, Layout(card="L4", micro_batch=4096, length=512))
    assert not report.fits
    fixes = {fix.name: fix for fix in report.fixes}
    # Each recipe that the archive has for the model is estimated.
    for name in ("micro_batch", "gradient_checkpointing", "bf16", "lora"):
        assert fixes[name].reason is None, name
