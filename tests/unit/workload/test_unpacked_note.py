"""Whether a plan says that experts are not in 4 bits."""

from __future__ import annotations

from dataclasses import replace

from manager.workload.memory_model import unpacked_note
from tasks.step_trace import StepTrace
from tests.support.trace_factory import StepShape, make_trace

BALANCED = "Expert routing is taken as balanced."


def traced(method: str, bytes_per_parameter: float, notes: tuple[str, ...]) -> StepTrace:
    """A trace whose weights take this much a parameter."""
    trace = make_trace(StepShape(layers=2, hidden=64, vocabulary=100))
    weights = {"1": bytes_per_parameter * trace.parameters}
    return replace(trace, method=method, weights_bytes=weights, notes=notes)


def test_experts_that_stay_in_16_bits_are_named() -> None:
    assert "experts stay in 16 bits" in unpacked_note(traced("qlora", 1.9, (BALANCED,)))


def test_packed_experts_other_methods_and_dense_models_need_no_word() -> None:
    assert unpacked_note(traced("qlora", 0.6, (BALANCED,))) == ""
    assert unpacked_note(traced("lora", 2.0, (BALANCED,))) == ""
    assert unpacked_note(traced("qlora", 1.9, ())) == ""
