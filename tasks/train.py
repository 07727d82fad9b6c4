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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

from tasks.alarm import Alarm
from tasks.emit import EventWriter
from tasks.ending import finish_at_checkpoint, finished_outcome, stop_outcome
from tasks.failures import TaskError, as_task_error
from tasks.guard import Guard
from tasks.heartbeat import HEART, end_when_lost, heartbeat_file
from tasks.job import Job, parse_job
from tasks.lowering import MicroBatchTooLargeError, free_memory, say_lowered
from tasks.preemption import PreemptionWatch, this_machine
from tasks.protocol import (
    EVENTS_FILE,
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_INTERNAL,
    TASK_EXIT_STATUS,
    EventType,
    FailureCode,
    Outcome,
    ProtocolError,
)
from tasks.redaction import redact_own_output
from tasks.run_store import RunStore, open_run_store
from tasks.stop import Interrupted, StopFlag
from tasks.stores.errors import StoreError

SETTLE_LIMIT_S = 10.0
"""For the store to take the last events of a program that ends in the middle."""


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
    alarm = Alarm(lambda failure: _tell_at_once(events, failure))
    around = ExitStack()
    try:
        job = _read_job(job_file)
        guard = Guard(job.guard)
        _show_life(job, out, events, guard, started_s)
        store, preemption = around.enter_context(_outside(job, out, events))
        # Several processes must meet first: only one of them is sure to see the folder.
        done = finished_outcome(events, guard) if is_alone else None
        if done is None:
            with stop.immediate() if is_alone else nullcontext():
                # Seconds of imports: a signal is caught, and a finished run recognised, before them.
                from tasks.run import run
                from tasks.together import let_go_of_group
            start = partial(run, job, out, events, guard, stop, alarm=alarm, started_s=started_s)
            done = _with_what_fits(lambda: start(store=store, preemption=preemption), events)
            # Not before: the model was held by the run.
            let_go_of_group()
        if done is not None:
            _say(f"{out} holds a finished run ({done}); nothing to do.")
    except Interrupted:
        finish_at_checkpoint(events, started_s, stop_outcome(out, events))
        _say(f"stopped before training; {out} can be started again.")
    except StoreError as error:
        # Which events the store has is not known, so that none can be given a number that says so.
        _say(f"the run's store cannot be used: {error.message} {error.hint or ''}")
        return EXIT_INTERNAL
    except Exception as error:
        # The one rim of this program: whatever happens is told as an event, and a defect keeps its traceback.
        own = as_task_error(error)
        if own.code in (FailureCode.INTERNAL, FailureCode.OUT_OF_MEMORY):
            traceback.print_exc()
        failure = alarm.first_failure(own)
        _tell(events, failure)
        return TASK_EXIT_STATUS[failure.code]
    finally:
        around.close()
        HEART.stop()
        alarm.disarm()
    return EXIT_DONE


@contextmanager
def _outside(job: Job, out: Path, events: EventWriter) -> Iterator[tuple[RunStore | None, PreemptionWatch | None]]:
    """What the run has besides this machine: its store, and who gives notice that the machine will be taken back."""
    is_main = int(os.environ.get("RANK", "0")) == 0
    store = open_run_store(job.store if is_main else None, out, events)
    preemption = this_machine()
    try:
        yield store, preemption
    finally:
        if preemption is not None:
            preemption.close()
        if store is not None:
            store.close()


def _with_what_fits(start: Callable[[], str | None], events: EventWriter) -> str | None:
    """The run; each time that memory runs out once more, from its last checkpoint with half of the micro-batch."""
    while True:
        try:
            return start()
        except MicroBatchTooLargeError as error:
            say_lowered(events, [error.micro_batch], error.micro_batch // 2)
        # After the handler: the exception holds the frames, and they the model.
        free_memory()


def _show_life(job: Job, out: Path, events: EventWriter, guard: Guard, started_s: float) -> None:
    """Give signs of life, and keep cap and patience from a thread where the main one is stuck."""

    def tell(message: str | None) -> None:
        if message is None:
            finish_at_checkpoint(events, started_s, Outcome.CAP_REACHED)
        else:
            hint = "Started again, the run goes on from its last checkpoint; setting hang_minutes is the limit."
            _tell(events, TaskError(FailureCode.INTERNAL, message, hint=hint))
        events.settle(SETTLE_LIMIT_S)

    # The others wait for the first process, who may wait for a disk.
    hang_s = job.guard.hang_s if int(os.environ.get("RANK", "0")) == 0 else None
    # The loop ends in good order before the cap; what is left is within the interval by which a guard may be late.
    late_s = job.guard.heartbeat_s / 2
    HEART.watch(end_when_lost(left_s=lambda: guard.left_s() + late_s, hang_s=hang_s, tell=tell))
    HEART.start(heartbeat_file(out), every_s=job.guard.heartbeat_s)


def _tell_at_once(events: EventWriter, failure: TaskError) -> None:
    """The last word of a program that ends in the middle."""
    _tell(events, failure)
    events.settle(SETTLE_LIMIT_S)


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
    redact_own_output()
    sys.exit(main())
