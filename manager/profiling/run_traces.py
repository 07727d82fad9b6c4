"""The traced step of a run for each kind of device that is offered, and what stands in where one cannot be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.errors import DataError
from manager.profiling.tracer import FoundTrace, find_trace, worker_can_run
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from manager.workload.request import (
    USUAL_TARGET_SHARE,
    adapter_rank,
    mean_target_share_of,
    target_note,
    target_share_of,
    trace_request,
)
from manager.workload.traces import RunTraces
from tasks.step_trace import StepTrace

_LARGEST_ON_CPU = 1_500_000_000
"""Parameters; larger models are not traced for a processor, on which nobody tunes them."""
_STANDS_IN = "machines without an accelerator are estimated from the step of a GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """The step of one run, traced for targets of one length or another."""

    spec: RunSpec
    entry: ModelEntry
    labels: int
    cache_dir: Path
    timeout_s: float

    def find(self, share: float, kernels: str = "cuda", *, may_trace: bool = True) -> FoundTrace:
        """The step with targets of this share of their sources.

        Raises:
            DataError: it can neither be looked up nor traced here.
        """
        request = trace_request(
            self.spec, self.entry.config, num_labels=self.labels, kernels=kernels, target_share=share
        )
        return find_trace(request, cache_dir=self.cache_dir, timeout_s=self.timeout_s, may_trace=may_trace)

    def find_timed(self, share: float | None, kernels: str = "cuda", *, may_trace: bool = True) -> StepTrace | None:
        """The step that time follows; None: it is no other one, or cannot be had here.

        Raises:
            DataError: the tracer is here, and failed.
        """
        if share is None:
            return None
        try:
            return self.find(share, kernels, may_trace=may_trace).trace
        except DataError:
            if may_trace and worker_can_run():
                raise
            return None


def run_traces(
    spec: RunSpec, entry: ModelEntry, *, data: DataStats, has_cpu_offers: bool, cache_dir: Path, timeout_s: float
) -> RunTraces:
    """The step of the run on accelerators and, where machines without one are offered, on processors.

    Raises:
        DataError: the step can neither be looked up nor traced here.
    """
    steps = _Steps(spec=spec, entry=entry, labels=len(data.labels), cache_dir=cache_dir, timeout_s=timeout_s)
    measured = target_share_of(spec.task, data)
    share = measured or USUAL_TARGET_SHARE
    try:
        found = steps.find(share)
    except DataError:
        if share == USUAL_TARGET_SHARE or worker_can_run():
            raise
        # Without the training libraries only the shipped share can be had; the note says so.
        share = USUAL_TARGET_SHARE
        found = steps.find(share)
    cuda = found.trace
    mean_share = mean_target_share_of(spec.task, data) if share == measured else None
    mean_share = None if mean_share == share else mean_share
    cuda_timed, cpu_timed = steps.find_timed(mean_share), None
    told_share = share if cuda_timed is None or mean_share is None else mean_share
    notes = [target_note(spec.task, share, told_share, is_measured=share == measured)]
    if cuda.optimizer != spec.training.optimizer:
        notes.append(f"the update is timed as that of {cuda.optimizer}; memory is that of {spec.training.optimizer}")
    cpu = None
    if has_cpu_offers and cuda.parameters >= _LARGEST_ON_CPU:
        notes.append(f"{_STANDS_IN}: models above {_LARGEST_ON_CPU / 1e9:g} B parameters are not traced for a CPU")
    elif has_cpu_offers:
        # Starting the tracer takes ten times as long as a plan: only a run that is meant for a processor waits for it.
        is_meant_for_cpu = spec.where.clouds == ("local",) or not found.is_shipped
        try:
            cpu = steps.find(share, "cpu", may_trace=is_meant_for_cpu).trace
            cpu_timed = steps.find_timed(mean_share, "cpu", may_trace=is_meant_for_cpu)
        except DataError as error:
            notes.append(f"{_STANDS_IN}: {error}")
    return RunTraces(
        cuda=cuda,
        cpu=cpu,
        cuda_timed=cuda_timed,
        cpu_timed=cpu_timed,
        rank=adapter_rank(spec),
        target_share=share,
        notes=tuple(note for note in notes if note is not None),
    )
