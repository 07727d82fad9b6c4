"""A training task that only speaks the protocol; `python -m fake_task job.json --out DIR`, told what to do by the job.

`job.data.source` holds JSON: steps, step_s, and an optional trick: fail, crash, silent, ignore_term, escape, linger,
tell_device.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tasks.job import parse_job
from tasks.protocol import EVENT_PREFIX, EVENTS_FILE, EventType
from tasks.protocol import Event as TaskEvent

stopped = False


def note_term(_signum: int, _frame: FrameType | None) -> None:
    global stopped
    stopped = True


class Emitter:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0

    def emit(self, kind: EventType, **data: Any) -> None:
        line = TaskEvent(seq=self.seq, time_s=time.time(), type=kind, data=data).to_line()
        self.seq += 1
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        say(EVENT_PREFIX + line)

    def finish(self, outcome: str, steps: int) -> None:
        self.emit(
            EventType.FINISHED,
            outcome=outcome,
            steps=steps,
            best=None,
            training_s=1.0,
            total_s=1.0,
            peak_memory_bytes=None,
            output="model",
        )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def escape(out: Path) -> None:
    """A grandchild that leaves session, group and environment."""
    child = subprocess.Popen(["sleep", "300"], start_new_session=True, env={})
    (out / "escaped.pid").write_text(str(child.pid))
    time.sleep(1.0)


def main() -> int:
    job_file, _, out = sys.argv[1:]
    orders = json.loads(parse_job(Path(job_file).read_text()).data.source)
    trick = orders.get("trick")
    emitter = Emitter(Path(out) / EVENTS_FILE)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if trick == "ignore_term" else note_term)
    say("fake task: a line of log")
    emitter.emit(EventType.STARTED, versions={}, device="cpu", pid=os.getpid())
    if trick == "tell_device":
        (Path(out) / "visible_devices.txt").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    if trick == "escape":
        escape(Path(out))
    if trick == "linger":
        subprocess.Popen(["sleep", "300"])
    for step in range(1, orders["steps"] + 1):
        time.sleep(orders["step_s"])
        emitter.emit(EventType.TRAIN, step=step, epoch=step / 10, loss=1 / step, elapsed_s=step * orders["step_s"])
        if trick == "crash" and step == 3:
            with emitter.path.open("a", encoding="utf-8") as file:
                file.write('{"v":1,"seq":4,"t":17')
            os._exit(7)
        if trick == "fail" and step == 3:
            emitter.emit(EventType.FAILED, code="not_a_number", message="loss is NaN at step 3", hint="Lower the rate.")
            return 3
        if stopped:
            emitter.finish("stopped", step)
            return 0
    if trick == "silent":
        return 1
    emitter.finish("completed", orders["steps"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
