"""The traced step of a run for each kind of device that is offered, and what stands in where one cannot be had."""

from __future__ import annotations

from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.errors import DataError
from manager.profiling.tracer import FoundTrace, find_trace, worker_can_run
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from manager.workload.request import USUAL_TARGET_SHARE, adapter_rank, target_note, target_share_of, trace_request
from manager.workload.traces import RunTraces

_LARGEST_ON_CPU = 1_500_000_000
"""Parameters; larger models are not traced for a processor, on which nobody tunes them."""
_STANDS_IN = "machines without an accelerator are estimated from the step of a GPU"


def run_traces(
    spec: RunSpec, entry: ModelEntry, *, data: DataStats, has_cpu_offers: bool, cache_dir: Path, timeout_s: float
) -> RunTraces:
    """The step of the run on accelerators and, where machines without one are offered, on processors.

    Raises:
        DataError: the step can neither be looked up nor traced here.
    """
    labels, measured = len(data.labels), target_share_of(spec.task, data)

    def traced(share: float, kernels: str = "cuda", *, may_trace: bool = True) -> FoundTrace:
        request = trace_request(spec, entry.config, num_labels=labels, kernels=kernels, target_share=share)
        return find_trace(request, cache_dir=cache_dir, timeout_s=timeout_s, may_trace=may_trace)

    share = measured or USUAL_TARGET_SHARE
    try:
        found = traced(share)
    except DataError:
        if share == USUAL_TARGET_SHARE or worker_can_run():
            raise
        # Without the training libraries only the shipped share can be had; the note says so.
        share = USUAL_TARGET_SHARE
        found = traced(share)
    cuda = found.trace
    notes = [target_note(spec.task, share, is_measured=share == measured)]
    if cuda.optimizer != spec.training.optimizer:
        notes.append(f"the update is timed as that of {cuda.optimizer}; memory is that of {spec.training.optimizer}")
    cpu = None
    if has_cpu_offers and cuda.parameters >= _LARGEST_ON_CPU:
        notes.append(f"{_STANDS_IN}: models above {_LARGEST_ON_CPU / 1e9:g} B parameters are not traced for a CPU")
    elif has_cpu_offers:
        # Starting the tracer takes ten times as long as a plan: only a run that is meant for a processor waits for it.
        is_meant_for_cpu = spec.where.clouds == ("local",) or not found.is_shipped
        try:
            cpu = traced(share, "cpu", may_trace=is_meant_for_cpu).trace
        except DataError as error:
            notes.append(f"{_STANDS_IN}: {error}")
    return RunTraces(
        cuda=cuda,
        cpu=cpu,
        rank=adapter_rank(spec),
        target_share=share,
        notes=tuple(note for note in notes if note is not None),
    )
