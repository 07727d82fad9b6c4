"""`python -m tasks.train JOB.json --out DIR`: the rim of the program; `run.py` has the run itself, top to bottom.

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
    EVENTS_FILE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    TASK_EXIT_STATUS,
    EventType,
    FailureCode,
    Job,
    Outcome,
    ProtocolError,
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
    lock: IO[Any] | None = None
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
        lock = _lock(asked.out) if is_main else None
        events = EventWriter(asked.out / EVENTS_FILE, is_main=is_main)
    except (OSError, TaskError, ProtocolError) as error:
        if lock is not None:
            lock.close()
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
        with stop.immediate():
            # Seconds of imports: a signal is caught, and a finished run recognised, before them.
            from tasks.run import run
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
        total_s=events.running_s(started_s),
        peak_memory_bytes=None,
        output=None,
    )
    _say(f"stopped before training; {out} can be started again.")


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
