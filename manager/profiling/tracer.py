"""The trace of a training step for a plan: shipped, kept from an earlier plan, or made by the tracing worker.

Owns the choice among the three. Nothing is downloaded, and no training library is loaded in this process.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from manager.errors import DataError, how_to_install
from manager.profiling.adapt import OTHER_BLOCKS
from manager.profiling.archive import shipped_precisions, shipped_trace
from manager.profiling.kept import keep, read_kept
from manager.profiling.trace_key import trace_key
from manager.profiling.trace_worker import TraceWorker
from tasks.protocol import ProtocolError
from tasks.step_trace import StepTrace, TraceRequest
from tasks.step_trace_codec import trace_from_json

_WORKER_LIBRARIES = ("torch", "transformers", "peft")
_REMEMBERED_S = 24 * 3600.0
"""How long a failure is remembered: what made it (a busy machine) may pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrace:
    """A trace, and where it was."""

    trace: StepTrace
    is_shipped: bool
    """It came from the archive: no tracer is needed for this model and recipe."""


def trace_for(
    request: TraceRequest,
    *,
    cache_dir: Path,
    timeout_s: float,
    worker: TraceWorker | None = None,
    tell: Callable[[], None] | None = None,
) -> StepTrace:
    """The trace of `find_trace`, wherever it was."""
    return find_trace(request, cache_dir=cache_dir, timeout_s=timeout_s, worker=worker, tell=tell).trace


def find_trace(
    request: TraceRequest,
    *,
    cache_dir: Path,
    timeout_s: float,
    worker: TraceWorker | None = None,
    may_trace: bool = True,
    is_optional: bool = False,
    tell: Callable[[], None] | None = None,
) -> FoundTrace:
    """Work and memory of one training step, for any batch and length.

    A shipped trace is AdamW's whatever optimizer is asked: `StepTrace.optimizer` says so, and the state of any other
    follows from `StepTrace.trainable`. Where it says `OTHER_BLOCKS`, the worker's is preferred if it is installed; if
    that fails, the shipped one says why.

    Args:
        request: the step.
        cache_dir: folder of traces of earlier calls; created when missing.
        timeout_s: longest time that the worker may take, in seconds; where none is left, it is not asked.
        worker: that is asked; None: the one of this process, which stays warm.
        may_trace: whether the worker may be started for it, which takes seconds.
        is_optional: whether something stands in for it: a failure with as much time, of the last day, is then its
            answer again.
        tell: called before the worker is asked.

    Raises:
        DataError: the model cannot be traced, not in time, or not without the libraries.
    """
    damage: Exception | None = None
    shipped: StepTrace | None = None
    try:
        shipped = shipped_trace(request)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:  # a damaged member; ProtocolError too
        damage = error
    if shipped is not None and not (OTHER_BLOCKS in shipped.notes and may_trace and worker_can_run()):
        return FoundTrace(trace=shipped, is_shipped=True)
    file = cache_dir / f"trace-{trace_key(request)}.json"
    kept = _kept(file)
    if kept is not None:
        return FoundTrace(trace=kept, is_shipped=False)
    _check_traceable(request, damage, may_trace=may_trace)
    failures = cache_dir / f"failed-{file.name}"
    try:
        if timeout_s <= 0:
            raise DataError(
                "not tried, as no time was left; raise measure_timeout_s for more",
                hint="raise measure_timeout_s in the settings",
            )
        if shipped is not None or is_optional:
            _raise_remembered(failures, timeout_s)
        if tell is not None:
            tell()
        trace = _traced(request, file, failures, worker or shared_worker(), timeout_s)
    except DataError as error:
        if shipped is None:
            raise
        notes = (
            *shipped.notes,
            f"the tracer failed at rank {request.method.lora_rank}: {str(error).removesuffix('.')}",
        )
        return FoundTrace(trace=replace(shipped, notes=notes), is_shipped=True)
    return FoundTrace(trace=trace, is_shipped=False)


def _check_traceable(request: TraceRequest, damage: Exception | None, *, may_trace: bool) -> None:
    """Refuse what is neither shipped nor kept and cannot be traced here.

    Raises:
        DataError: it cannot; `damage` is what is wrong with the shipped one.
    """
    can_run = worker_can_run()
    if damage is not None and not can_run:
        said = str(damage) if isinstance(damage, ProtocolError) else f"shipped traces cannot be read: {damage!r}"
        raise DataError(said, hint="install tunefare again") from damage
    if not may_trace:
        raise DataError("its step is not shipped", hint="set where.clouds: [local] to have it traced here")
    if not can_run:
        kind = request.config.get("model_type", "this model")
        raise DataError(
            f"no trace of {kind} for {request.task} is shipped, and it cannot be traced without torch",
            hint=f"{_shipped_hint(request)}to have its training step traced here, {how_to_install('local')}",
        )


def _shipped_hint(request: TraceRequest) -> str:
    """Precisions that need no tracer, as the start of a hint; empty where there are none."""
    found = shipped_precisions(request)
    if not found:
        return ""
    what = "precision" if len(found) == 1 else "precisions"
    verb = "is" if len(found) == 1 else "are"
    return f"{what} {' and '.join(found)} {verb} shipped for this model: set training.precision; or, "


def _traced(request: TraceRequest, file: Path, failures: Path, worker: TraceWorker, timeout_s: float) -> StepTrace:
    """The worker's answer, kept in `file`; its failure in `failures`."""
    try:
        answer = worker.ask(request, timeout_s=timeout_s)
    except DataError as error:
        keep(failures, {"message": error.message, "hint": error.hint, "timeout_s": timeout_s, "at_s": time.time()})
        raise
    try:
        trace = trace_from_json(answer)
    except ProtocolError as error:
        raise DataError(f"the tracing worker's answer is no trace: {error}", hint="install tunefare again") from error
    keep(file, answer)
    return trace


def _raise_remembered(failures: Path, timeout_s: float) -> None:
    """Raise the failure of an earlier call that had as much time."""
    record = read_kept(failures) or {}
    try:
        counts = record["timeout_s"] >= timeout_s and 0 <= time.time() - record["at_s"] < _REMEMBERED_S
        message, hint = str(record["message"]), record["hint"]
    except (KeyError, TypeError):
        return
    if counts:
        raise DataError(f"{message} (not tried again for a day)", hint=hint)


@lru_cache(maxsize=1)
def shared_worker() -> TraceWorker:
    """The worker of this process; not started before it is asked, or told to start."""
    return TraceWorker()


def _kept(file: Path) -> StepTrace | None:
    record = read_kept(file)
    if record is None:
        return None
    try:
        return trace_from_json(record)
    except ProtocolError:
        return None


def worker_can_run() -> bool:
    """Whether the tracing worker's libraries are installed; looked up without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in _WORKER_LIBRARIES)
