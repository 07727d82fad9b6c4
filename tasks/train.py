"""`python -m tasks.train JOB.json --out DIR`: one run from the job file to the tuned model; reads top to bottom.

Started again on the same folder it goes on from the last checkpoint; on a finished run it says so and does nothing.
Exit statuses are those of `tasks.protocol`; the reason is the last event of DIR/events.jsonl. On several devices start
it with `accelerate launch` or `torchrun`; DIR must be the same folder for all processes.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any

from tasks.emit import EventWriter
from tasks.failures import TaskError, as_task_error
from tasks.guard import Guard
from tasks.protocol import (
    CHECKPOINTS_DIR,
    EVENTS_FILE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    TASK_EXIT_STATUS,
    EvaluationStage,
    EventType,
    FailureCode,
    Job,
    Outcome,
    PhaseName,
    parse_job,
)
from tasks.stop import Interrupted, StopFlag

_FINAL = (Outcome.COMPLETED, Outcome.EARLY_STOPPED, Outcome.TARGET_REACHED)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tasks.train", description="Tune a model as a job file says.")
    parser.add_argument("job", type=Path, metavar="JOB.json")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    asked = parser.parse_args(arguments)
    stop = StopFlag()
    stop.install()
    # The log is for people: progress bars and remarks on the new head say nothing that an event does not.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    is_main = int(os.environ.get("RANK", "0")) == 0
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
        lock = _lock(asked.out) if is_main else None
        events = EventWriter(asked.out / EVENTS_FILE, is_main=is_main)
    except (OSError, TaskError) as error:
        _say(f"cannot use {asked.out}: {error}")
        return TASK_EXIT_STATUS[FailureCode.DISK_FULL] if _is_disk_full(error) else EXIT_BAD_INPUT
    try:
        return _run_to_end(asked.job, asked.out, events, stop)
    finally:
        if lock is not None:
            lock.close()


def _run_to_end(job_file: Path, out: Path, events: EventWriter, stop: StopFlag) -> int:
    """Run the job; each way to fail becomes the last event and an exit status."""
    started_s = time.time()
    try:
        job = _read_job(job_file)
        guard = Guard(job.guard)
        done = _finished_outcome(events, guard)
        if done is not None:
            _say(f"{out} holds a finished run ({done}); nothing to do.")
            return EXIT_DONE
        run(job, out, events, guard, stop, started_s=started_s)
    except Interrupted:
        _finish_untrained(events, out, started_s)
    except Exception as error:
        # The one rim of this program: whatever happens is told as an event, and a defect keeps its traceback.
        failure = as_task_error(error)
        if failure.code in (FailureCode.INTERNAL, FailureCode.OUT_OF_MEMORY):
            traceback.print_exc()
        _say(failure.message + (f" {failure.hint}" if failure.hint else ""))
        events.emit_last(EventType.FAILED, code=str(failure.code), message=failure.message, hint=failure.hint)
        return TASK_EXIT_STATUS[failure.code]
    return EXIT_DONE


def run(job: Job, out: Path, events: EventWriter, guard: Guard, stop: StopFlag, *, started_s: float) -> None:
    """One run: data, model, baseline, training, final evaluation, tuned model.

    Raises:
        TaskError: a failure with a code.
        Interrupted: stopped before there was anything to save.
        Exception: what the libraries raise; `failures.as_task_error` knows what it stands for.
    """
    # Seconds of imports: a signal is caught and a finished run is recognised before them.
    with stop.immediate():
        from tasks import session as sessions
        from tasks.checkpoint import newest_first
        from tasks.device import device_name, peak_memory_bytes, versions
        from tasks.evaluate import evaluate
        from tasks.export import evaluations_on_test, export_model
        from tasks.job_checks import check_job
        from tasks.loop import train
        from tasks.manifest import write_manifest
        from tasks.text_classification import load

        check_job(job)
        accelerator = sessions.start_accelerator(job)
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

    events.emit(EventType.PHASE, name=str(PhaseName.LOADING_DATA))
    warnings: list[tuple[str, str]] = []
    try:
        with stop.immediate():
            task = load(job, lambda code, message: warnings.append((code, message)))
    finally:
        for code, message in warnings:
            events.warn(code, message)
    facts = task.data_facts()
    if accelerator.is_main_process:
        write_manifest(out, job, data_facts=facts, versions=versions(), device=device_name(accelerator.device))
    events.emit(EventType.DATA, **facts)

    events.emit(EventType.PHASE, name=str(PhaseName.LOADING_MODEL))
    with stop.immediate():
        session = sessions.open_session(job, out, events, guard, stop, accelerator, task)
    events.emit(EventType.MODEL, **session.model_facts())

    baseline = events.find(EventType.EVALUATION, stage=str(EvaluationStage.BASELINE))
    if not baseline:
        events.emit(EventType.PHASE, name=str(PhaseName.BASELINE))
        evaluation = evaluate(session, EvaluationStage.BASELINE)
        session.test_evaluation_s = 0.0 if evaluation is None else evaluation.duration_s
    else:
        session.test_evaluation_s = float(baseline[-1].data["duration_s"])
    session.resume()

    events.emit(EventType.PHASE, name=str(PhaseName.TRAINING))
    outcome = train(session)

    if outcome is not Outcome.STOPPED and session.progress.step > 0:
        events.emit(EventType.PHASE, name=str(PhaseName.FINAL_EVALUATION))
        session.load_best()
        evaluate(session, EvaluationStage.FINAL)
        if stop.requested:
            outcome = Outcome.STOPPED
    output: Path | None = None
    if session.progress.step > 0:
        events.emit(EventType.PHASE, name=str(PhaseName.SAVING))
        session.load_best()
        if accelerator.is_main_process:
            output = export_model(session, evaluations_on_test(session))
    accelerator.wait_for_everyone()
    events.emit(
        EventType.FINISHED,
        outcome=str(outcome),
        steps=session.progress.step,
        best=session.progress.best,
        training_s=session.progress.training_s,
        total_s=_total_s(events, started_s),
        peak_memory_bytes=peak_memory_bytes(accelerator.device),
        output=None if output is None else str(output),
    )
    accelerator.end_training()


def _read_job(file: Path) -> Job:
    try:
        return parse_job(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(FailureCode.BAD_JOB, f"The job file cannot be read: {error}") from error


def _finished_outcome(events: EventWriter, guard: Guard) -> str | None:
    """The outcome of a run that is over for good; a stopped run goes on, one at its cap when the cap was raised."""
    last = events.events[-1] if events.events else None
    if last is None or last.type is not EventType.FINISHED:
        return None
    outcome = Outcome(last.data["outcome"])
    is_over = outcome in _FINAL or (outcome is Outcome.CAP_REACHED and guard.is_spent())
    return str(outcome) if is_over else None


def _finish_untrained(events: EventWriter, out: Path, started_s: float) -> None:
    """A stop while data or model were loading: earlier checkpoints, if any, are all there is."""
    checkpoints = events.find(EventType.CHECKPOINT)
    trained = events.find(EventType.TRAIN)
    events.emit(
        EventType.FINISHED,
        outcome=str(Outcome.STOPPED),
        steps=checkpoints[-1].data["step"] if checkpoints else 0,
        best=None,
        training_s=trained[-1].data["elapsed_s"] if trained else 0.0,
        total_s=_total_s(events, started_s),
        peak_memory_bytes=None,
        output=None,
    )
    _say(f"stopped before training; {out} can be started again.")


def _total_s(events: EventWriter, started_s: float) -> float:
    """Time that the program has run, over all starts."""
    earlier: list[list[float]] = []
    for event in events.events:
        if event.time_s >= started_s:
            break
        if event.type is EventType.STARTED or not earlier:
            earlier.append([event.time_s, event.time_s])
        earlier[-1][1] = event.time_s
    return time.time() - started_s + sum(last - first for first, last in earlier)


def _lock(out: Path) -> IO[Any]:
    """Hold the folder for this process; the system lets go of it however the process ends.

    Raises:
        TaskError: bad_job, when another training program is at work in it.
    """
    stream = (out / ".lock").open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise TaskError(FailureCode.BAD_JOB, "another training program is at work in this folder") from error
    return stream


def _is_disk_full(error: Exception) -> bool:
    return as_task_error(error).code is FailureCode.DISK_FULL


def _say(message: str) -> None:
    sys.stderr.write(f"tasks.train: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
