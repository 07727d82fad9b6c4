"""The traced step of a run for each kind of device that is offered."""

from __future__ import annotations

from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.errors import DataError
from manager.profiling.tracer import trace_for
from manager.spec.model import RunSpec
from manager.workload.request import adapter_rank, trace_request
from manager.workload.traces import RunTraces

_LARGEST_ON_CPU = 1_500_000_000
"""Parameters; larger models are not traced for a processor, on which nobody tunes them."""


def run_traces(
    spec: RunSpec, entry: ModelEntry, *, num_labels: int, has_cpu_offers: bool, cache_dir: Path, timeout_s: float
) -> RunTraces:
    """The step of the run on accelerators and, where machines without one are offered, on processors.

    Raises:
        DataError: the step can neither be looked up nor traced here.
    """
    request = trace_request(spec, entry.config, num_labels=num_labels)
    cuda = trace_for(request, cache_dir=cache_dir, timeout_s=timeout_s)
    cpu = None
    if has_cpu_offers and cuda.parameters < _LARGEST_ON_CPU:
        on_cpu = trace_request(spec, entry.config, num_labels=num_labels, kernels="cpu")
        try:
            cpu = trace_for(on_cpu, cache_dir=cache_dir, timeout_s=timeout_s)
        except DataError:
            # Without the training libraries and a shipped trace for processors, the one of a GPU stands in.
            cpu = None
    return RunTraces(cuda=cuda, cpu=cpu, rank=adapter_rank(spec))
