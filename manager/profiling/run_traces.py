"""The traced step of a run for each kind of device that is offered, and what stands in where one cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.catalog.models import check_room
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
_LONGEST_TIMED = "time follows the longest targets too, which makes it long"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A step without which the plan can do, or why there is none."""

    trace: StepTrace | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """The step of one run, traced for targets of one length or another."""

    spec: RunSpec
    entry: ModelEntry
    labels: int
    cache_dir: Path
    timeout_s: float
    tell: Callable[[str], None] | None
    may_trace: bool
    is_optional: bool

    def find(
        self, share: float, kernels: str = "cuda", *, may_trace: bool = True, is_optional: bool = False
    ) -> FoundTrace:
        """The step with targets of this share of their sources.

        Raises:
            DataError: it can neither be looked up nor traced here.
        """
        request = trace_request(
            self.spec, self.entry.config, num_labels=self.labels, kernels=kernels, target_share=share
        )
        return find_trace(
            request,
            cache_dir=self.cache_dir,
            timeout_s=self.timeout_s,
            may_trace=may_trace and self.may_trace,
            is_optional=is_optional or self.is_optional,
            tell=None if self.tell is None else partial(self.tell, self._text(kernels)),
        )

    def try_to_find(self, share: float, kernels: str = "cuda", *, may_trace: bool = True) -> _Found:
        """One that another can stand in for."""
        try:
            return _Found(trace=self.find(share, kernels, may_trace=may_trace, is_optional=True).trace)
        except DataError as error:
            return _Found(reason=str(error).removesuffix("."))

    def _text(self, kernels: str) -> str:
        device = " for machines without an accelerator" if kernels == "cpu" else ""
        return (
            f"tracing the training step of {self.entry.name}{device}: {self.spec.method.kind}, "
            f"at most {self.timeout_s:g} s ..."
        )


def run_traces(
    spec: RunSpec,
    entry: ModelEntry,
    *,
    data: DataStats,
    has_cpu_offers: bool,
    cache_dir: Path,
    timeout_s: float,
    tell: Callable[[str], None] | None = None,
    may_trace: bool = True,
    is_optional: bool = False,
) -> RunTraces:
    """The step of the run on accelerators and, where machines without one are offered, on processors.

    Args:
        spec: the run.
        entry: its model.
        data: its data.
        has_cpu_offers: whether a step on processors is asked for.
        cache_dir: of kept traces.
        timeout_s: longest time of one trace.
        tell: is told what is traced, before it is.
        may_trace: whether the tracer may be started, which takes seconds.
        is_optional: whether the plan can do without it: a failure is then remembered for a day.

    Raises:
        DataError: the step on accelerators can neither be looked up nor traced here, or a text and its image have more
            tokens than the model has positions.
    """
    steps = _Steps(
        spec=spec,
        entry=entry,
        labels=len(data.labels),
        cache_dir=cache_dir,
        timeout_s=timeout_s,
        tell=tell,
        may_trace=may_trace,
        is_optional=is_optional,
    )
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
    check_room(entry, max_length=spec.training.max_length, image_tokens=cuda.image_tokens)
    mean_share = mean_target_share_of(spec.task, data) if share == measured else None
    mean_share = None if mean_share == share else mean_share
    timed = _Found() if mean_share is None else steps.try_to_find(mean_share)
    told_share = share if timed.trace is None or mean_share is None else mean_share
    notes = [target_note(spec.task, share, told_share, is_measured=share == measured)]
    if timed.reason is not None:
        notes.append(f"{_LONGEST_TIMED}: {timed.reason}")
    if cuda.optimizer != spec.training.optimizer:
        notes.append(
            f"the update of {spec.training.optimizer} is counted by its passes over what learns: the step was traced "
            f"with {cuda.optimizer}"
        )
    # Starting the tracer takes ten times as long as a plan: only a run that is meant for a processor waits for it.
    is_meant_for_cpu = spec.where.clouds == ("local",) or not found.is_shipped
    on_cpu = _OnCpu()
    if has_cpu_offers and cuda.parameters >= _LARGEST_ON_CPU:
        notes.append(f"{_STANDS_IN}: models above {_LARGEST_ON_CPU / 1e9:g} B parameters are not traced for a CPU")
    elif has_cpu_offers:
        on_cpu = _on_cpu(steps, share, mean_share, may_trace=is_meant_for_cpu)
    return RunTraces(
        cuda=cuda,
        cpu=on_cpu.trace,
        cuda_timed=timed.trace,
        cpu_timed=on_cpu.timed,
        rank=adapter_rank(spec),
        target_share=share,
        notes=(*(note for note in notes if note is not None), *on_cpu.notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnCpu:
    """The step on processors, as far as it can be had."""

    trace: StepTrace | None = None
    timed: StepTrace | None = None
    notes: tuple[str, ...] = ()


def _on_cpu(steps: _Steps, share: float, mean_share: float | None, *, may_trace: bool) -> _OnCpu:
    found = steps.try_to_find(share, "cpu", may_trace=may_trace)
    if found.trace is None:
        return _OnCpu(notes=(f"{_STANDS_IN}: {found.reason}",))
    if mean_share is None:
        return _OnCpu(trace=found.trace)
    timed = steps.try_to_find(mean_share, "cpu", may_trace=may_trace)
    notes = () if timed.reason is None else (f"on machines without an accelerator {_LONGEST_TIMED}: {timed.reason}",)
    return _OnCpu(trace=found.trace, timed=timed.trace, notes=notes)
