"""One run from data to tuned model; reads top to bottom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator  # type: ignore[import-untyped]

from tasks.alarm import Alarm
from tasks.checkpoint import newest_first
from tasks.device import device_name, peak_memory_bytes, utilization_percent, versions
from tasks.emit import EventWriter
from tasks.ending import finished_outcome, stop_outcome
from tasks.evaluate import evaluate
from tasks.export import evaluations_on_test, export_model
from tasks.failures import TaskError
from tasks.guard import Guard
from tasks.heartbeat import HEART
from tasks.job import Job
from tasks.job_checks import check_job
from tasks.loop import train
from tasks.lowering import MicroBatchTooLargeError, is_out_of_memory
from tasks.manifest import write_manifest
from tasks.opening import open_session, start_accelerator
from tasks.preemption import PreemptionWatch
from tasks.probe import probe
from tasks.protocol import CHECKPOINTS_DIR, EvaluationStage, EventType, FailureCode, Outcome, PhaseName
from tasks.run_store import RunStore
from tasks.session import Session
from tasks.stop import Interrupted, StopFlag
from tasks.task import Task, load_task
from tasks.together import end_group, from_first, largest, on_all, on_first


def run(
    job: Job,
    out: Path,
    events: EventWriter,
    guard: Guard,
    stop: StopFlag,
    *,
    alarm: Alarm,
    started_s: float,
    store: RunStore | None = None,
    preemption: PreemptionWatch | None = None,
) -> str | None:
    """Data, model, baseline, training, final evaluation, tuned model; each step says what it does as an event.

    Args:
        job: what to do.
        out: folder of the run; goes on from its last checkpoint.
        events: the run's stream.
        guard: caps on dollars and duration.
        stop: SIGTERM and SIGINT.
        alarm: tells several processes of each other's failures.
        started_s: Unix time at which the program was started.
        store: where the run is kept outside of this machine; None on all processes but the first.
        preemption: notices of the provider; None where it gives none.

    Returns:
        The outcome of an earlier start that was the last one; None when there was something to do.

    Raises:
        TaskError: a failure with a code.
        MicroBatchTooLargeError: memory ran out; called again after `lowering.say_lowered`, it goes on with less.
        Interrupted: stopped before there was anything to save.
        Exception: what the libraries raise; `failures.as_task_error` knows what it stands for.
    """
    check_job(job)
    accelerator = start_accelerator(job)
    HEART.observe(lambda: utilization_percent(accelerator.device))
    if accelerator.num_processes > 1:
        alarm.arm(accelerator.process_index, accelerator.num_processes)
        # The folder is the first process's; on another machine there is nothing in it.
        events.adopt(from_first(accelerator, events.events))
        done = from_first(accelerator, finished_outcome(events, guard))
        if done is not None:
            _part(alarm, accelerator)
            return done
    _say_started(job, out, events, accelerator)

    events.emit(EventType.PHASE, name=str(PhaseName.LOADING_DATA))
    task = _load_task(job, events, stop, accelerator)
    facts = task.data_facts()
    _check_same_data(facts, accelerator)
    device = device_name(accelerator.device)
    on_first(accelerator, lambda: write_manifest(out, job, data_facts=facts, versions=versions(), device=device))
    if store is not None:
        store.keep_manifest()
    events.emit(EventType.DATA, **facts)

    events.emit(EventType.PHASE, name=str(PhaseName.LOADING_MODEL))
    with _interruptible(stop, accelerator):
        session = open_session(job, out, events, guard, stop, accelerator, task)
    session.store, session.preemption = store, preemption
    events.emit(EventType.MODEL, **session.model_facts())

    with _smaller_where_short(session):
        probe(session)
        _baseline(session)
        session.resume()

        events.emit(EventType.PHASE, name=str(PhaseName.TRAINING))
        outcome = _final_evaluation(session, train(session))
    output = _save(session)
    if outcome is Outcome.STOPPED:
        outcome = stop_outcome(out, events)

    events.emit(
        EventType.FINISHED,
        outcome=str(outcome),
        steps=session.progress.step,
        best=session.progress.best,
        training_s=session.progress.training_s,
        total_s=events.running_s(started_s),
        peak_memory_bytes=peak_memory_bytes(accelerator.device),
        output=None if output is None else str(output),
    )
    _part(alarm, accelerator)
    return None


@contextmanager
def _smaller_where_short(session: Session) -> Iterator[None]:
    """Memory that runs out asks for a start with smaller micro-batches, where there are such; of several processes the
    others wait for one that has run out, so that all of them end."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if session.accelerator.num_processes > 1 or session.micro_batch == 1 or not is_out_of_memory(error):
            raise
        raise MicroBatchTooLargeError(session.micro_batch) from error


def _part(alarm: Alarm, accelerator: Accelerator) -> None:
    alarm.disarm()
    end_group(accelerator)


@contextmanager
def _interruptible(stop: StopFlag, accelerator: Accelerator) -> Iterator[None]:
    """A signal ends this block at once; several processes go to its end, so that none waits for one that has left."""
    if accelerator.num_processes == 1:
        with stop.immediate():
            yield
        return
    yield
    if largest(accelerator, int(stop.requested)):
        accelerator.wait_for_everyone()
        raise Interrupted


def _say_started(job: Job, out: Path, events: EventWriter, accelerator: Accelerator) -> None:
    saved = newest_first(out / CHECKPOINTS_DIR)
    events.emit(
        EventType.STARTED,
        versions=versions(),
        device=accelerator.device.type,
        device_name=device_name(accelerator.device),
        device_count=accelerator.num_processes,
        precision=job.training.precision,
        pid=os.getpid(),
        resumed_from_step=int(saved[0].name.rpartition("-")[2]) if saved else None,
    )


def _load_task(job: Job, events: EventWriter, stop: StopFlag, accelerator: Accelerator) -> Task:
    # Warnings are said afterwards: a signal that breaks off the loading must not break off a line of the stream.
    warnings: list[tuple[str, str]] = []
    try:
        with _interruptible(stop, accelerator):
            return on_all(accelerator, lambda: load_task(job, lambda code, text: warnings.append((code, text))))
    finally:
        for code, message in warnings:
            if not events.find(EventType.WARNING, code=code, message=message):
                events.warn(code, message)


def _check_same_data(facts: dict[str, Any], accelerator: Accelerator) -> None:
    """Machines that fetch the data on their own have fetched the same."""
    first = from_first(accelerator, facts)
    is_same = all(first[name] == facts[name] for name in ("sha256", "train_samples", "tokens_per_epoch"))
    if largest(accelerator, int(not is_same)):
        raise TaskError(
            FailureCode.DATA_INVALID,
            "The machines of this run have read different data.",
            hint="Start it again; data.source must not change while a run begins.",
        )


def _baseline(session: Session) -> None:
    """Evaluate the untouched model, unless an earlier start did."""
    said = session.events.find(EventType.EVALUATION, stage=str(EvaluationStage.BASELINE))
    if said:
        session.test_evaluation_s = float(said[-1].data["duration_s"])
        session.keep_reserve(0.0)
        return
    session.events.emit(EventType.PHASE, name=str(PhaseName.BASELINE))
    evaluation = evaluate(session, EvaluationStage.BASELINE)
    session.test_evaluation_s = 0.0 if evaluation is None else evaluation.duration_s
    # From the first step on: a cap can come before the first checkpoint, which renews the reserve.
    session.keep_reserve(0.0)


def _final_evaluation(session: Session, outcome: Outcome) -> Outcome:
    """Evaluate the best weights on test; the outcome, which is `stopped` when a signal cut this short."""
    if outcome is Outcome.STOPPED or session.progress.step == 0:
        return outcome
    session.events.emit(EventType.PHASE, name=str(PhaseName.FINAL_EVALUATION))
    session.load_best()
    evaluation = evaluate(session, EvaluationStage.FINAL)
    return Outcome.STOPPED if evaluation is None and session.stop.requested else outcome


def _save(session: Session) -> Path | None:
    """Write the model with the best weights; its folder, None when there was no training."""
    if session.progress.step == 0:
        return None
    session.events.emit(EventType.PHASE, name=str(PhaseName.SAVING))
    if session.store is not None:
        # The checkpoint first: a machine that is being taken back has no time for both.
        session.store.wait_for_upload()
    session.load_best()
    folder = export_model(session, evaluations_on_test(session))
    if session.store is not None:
        session.store.keep_model()
    return folder
