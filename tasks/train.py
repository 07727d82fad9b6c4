"""`python -m tasks.train JOB.json --out DIR`: the rim of the program; `run.py` has the run itself, top to bottom.

Started again on the same folder it goes on from the last checkpoint; on a finished run it says so and does nothing.
Exit statuses are those of `tasks.protocol`; the reason is the last event of DIR/events.jsonl. `tasks.launch` starts it
on several devices or nodes, and so do `torchrun` and `accelerate launch`; DIR matters to the first process alone.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from tasks.alarm import Alarm
from tasks.emit import EventWriter
from tasks.ending import finish_untrained, finished_outcome
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
    ProtocolError,
    parse_job,
)
from tasks.stop import Interrupted, StopFlag


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
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    alarm = Alarm(lambda failure: _tell(events, failure))
    try:
        job = _read_job(job_file)
        guard = Guard(job.guard)
        # Several processes must meet first: only one of them is sure to see the folder.
        done = finished_outcome(events, guard) if is_alone else None
        if done is None:
            with stop.immediate() if is_alone else nullcontext():
                # Seconds of imports: a signal is caught, and a finished run recognised, before them.
                from tasks.run import run
            done = run(job, out, events, guard, stop, alarm=alarm, started_s=started_s)
        if done is not None:
            _say(f"{out} holds a finished run ({done}); nothing to do.")
    except Interrupted:
        finish_untrained(events, started_s)
        _say(f"stopped before training; {out} can be started again.")
    except Exception as error:
        # The one rim of this program: whatever happens is told as an event, and a defect keeps its traceback.
        own = as_task_error(error)
        if own.code in (FailureCode.INTERNAL, FailureCode.OUT_OF_MEMORY):
            traceback.print_exc()
        failure = alarm.first_failure(own)
        _tell(events, failure)
        return TASK_EXIT_STATUS[failure.code]
    finally:
        alarm.disarm()
    return EXIT_DONE


def _tell(events: EventWriter, failure: TaskError) -> None:
    _say(failure.message + (f" {failure.hint}" if failure.hint else ""))
    events.emit_last(EventType.FAILED, code=str(failure.code), message=failure.message, hint=failure.hint)


def _read_job(file: Path) -> Job:
    try:
        return parse_job(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(FailureCode.BAD_JOB, f"The job file cannot be read: {error}") from error


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
