"""Signs of life of the training program: a thread replaces `heartbeat.json` in the run's folder every few seconds.

The dead-man timer beside the program reads the file, and ends what gives no sign of life or makes no progress. The
thread is also the part of the trainer's own guard that the main thread cannot miss: it ends the program when a cap
passes, or when nothing has moved for the longest time that the job allows, while the main thread is stuck.

{"at": 1790000000.1, "pid": 7, "phase": "training", "step": 12, "progress_at": ..., "busy_at": ...,
"utilization_percent": 97.0}; times are Unix time in seconds. `progress_at` is that of the last step, evaluated batch,
file or saved checkpoint; `busy_at` that of the last moment in which the device was seen at work, or could not be seen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.protocol import HEARTBEAT_FILE, PhaseName

SAMPLE_S = 1.0
"""Between two looks at device and process; the driver measures about as long."""
WORK_BYTES = 8 * 1024 * 1024
"""Read or written in one beat, that many bytes are progress of a phase that works inside of other people's code."""
WORK_SHARE = 0.2
"""The same for the share of one core that was computed with."""
_INSIDE_LIBRARIES: frozenset[str | None] = frozenset(
    {None, PhaseName.LOADING_DATA, PhaseName.LOADING_MODEL, PhaseName.SAVING}
)
"""Phases that load, download or write by one call that says nothing until it returns."""
_WITH_DEVICE: frozenset[str | None] = frozenset({PhaseName.TRAINING})
"""Phases in which a device that does nothing at all is no device that is needed."""
LAST_WORD_S = 15.0
"""For the last event of a program that ends in the middle, with the store's time to take it."""


class Heartbeat:
    """What this process has to say about its life; `progress` may be called from anywhere, before it is started too."""

    def __init__(self, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic):
        """Say nothing yet.

        Args:
            clock: Unix time in seconds, for the file.
            monotonic: seconds, for every decision: a clock that is set changes nothing.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._path: Path | None = None
        self._every_s = 30.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._utilization: Callable[[], float | None] = lambda: None
        self._watch: Callable[[], bool] = lambda: False
        self._phase: str | None = None
        self._step = 0
        self._inside = 0
        self._progress_s = self._busy_s = monotonic()
        self._work = _Work()
        self._most_percent: float | None = None

    def start(self, path: Path | None, *, every_s: float) -> None:
        """Write the file, if there is to be one, now and every that many seconds, from a thread, until `stop`."""
        self._path, self._every_s = path, every_s
        self._progress_s = self._busy_s = self._monotonic()
        self._over.clear()
        self._write()
        # A daemon: a program whose main thread has ended must not live on for the sake of its heartbeat.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say no more."""
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)
        self._thread = None
        # The device that was looked at may be gone when somebody starts again.
        self._utilization = lambda: None

    def watch(self, look: Callable[[], bool]) -> None:
        """Have `look` called about once a second from the thread, until it returns True or the heartbeat stops."""
        self._watch = look

    def observe(self, utilization: Callable[[], float | None]) -> None:
        """Have the device's utilization looked at; None means that nobody can tell."""
        self._utilization = utilization

    def progress(self, *, phase: str | None = None, step: int | None = None) -> None:
        """Something was done: a step, a batch, a file, a block of samples; cheap enough for each."""
        if phase is not None:
            self._phase = phase
            self._busy_s = self._monotonic()
        if step is not None:
            self._step = step
        self._progress_s = self._monotonic()

    @contextmanager
    def inside_a_library(self) -> Iterator[None]:
        """Within this block one call does all the work and tells nothing: what the process moves and computes counts.

        Not for work of a device: who waits for one that hangs may keep a core busy with waiting.
        """
        self.progress()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self.progress()

    def stuck_s(self) -> float:
        """Seconds without progress, or without any work of the device in a phase that needs it."""
        now_s = self._monotonic()
        return max(now_s - self._progress_s, now_s - self._busy_s if self._phase in _WITH_DEVICE else 0.0)

    def _beat(self) -> None:
        pause_s = min(SAMPLE_S, self._every_s / 4)
        written_s = self._monotonic()
        is_watched = True
        while not self._over.wait(pause_s):
            self._sample()
            is_watched = is_watched and not self._watch()
            now_s = self._monotonic()
            if now_s - written_s >= self._every_s:
                written_s = now_s
                has_worked = self._work.since_last(now_s)
                if has_worked and (self._inside > 0 or self._phase in _INSIDE_LIBRARIES):
                    self.progress()
                self._write()
                self._most_percent = None

    def _sample(self) -> None:
        percent = self._utilization()
        if percent is None or percent > 0:
            self._busy_s = self._monotonic()
        if percent is not None:
            # The most of the interval: one look may fall between two short bursts.
            self._most_percent = max(percent, self._most_percent or 0.0)

    def _write(self) -> None:
        if self._path is None:
            return
        now, now_s = self._clock(), self._monotonic()
        record = {
            "at": round(now, 3),
            "pid": os.getpid(),
            "phase": self._phase,
            "step": self._step,
            "progress_at": round(now - (now_s - self._progress_s), 3),
            "busy_at": round(now - (now_s - self._busy_s), 3),
            "utilization_percent": self._most_percent,
        }
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(record) + "\n", encoding="utf-8")
            beside.replace(self._path)
        except OSError:
            # A full disk is told by whoever writes results; the file's time alone says that the program lives.
            with suppress(OSError):
                os.utime(self._path)


class _Work:
    """What this process has read, written and computed, as the system counts it."""

    def __init__(self) -> None:
        self._bytes, self._cpu_s, self._at_s = _transferred_bytes(), time.process_time(), time.monotonic()

    def since_last(self, now_s: float) -> bool:
        """Whether it was enough, since this was asked last, to count as progress."""
        transferred, cpu_s = _transferred_bytes(), time.process_time()
        passed_s = max(now_s - self._at_s, 1e-9)
        enough = transferred - self._bytes >= WORK_BYTES or (cpu_s - self._cpu_s) / passed_s >= WORK_SHARE
        self._bytes, self._cpu_s, self._at_s = transferred, cpu_s, now_s
        return enough


def _transferred_bytes() -> int:
    """Zero where the system does not count; processor time is left then."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.partition(":")[2]) for line in lines if line.startswith(("rchar", "wchar")))


def heartbeat_file(out: Path) -> Path | None:
    """Where this process writes: the first process of each node does, on the first node under the known name."""
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return None
    node = int(os.environ.get("GROUP_RANK", os.environ.get("SKYPILOT_NODE_RANK", "0")))
    # Nodes may share the folder: each has a dead-man timer, which watches its own trainer.
    return out / (HEARTBEAT_FILE if node == 0 else f"heartbeat-{node}.json")


HEART = Heartbeat()
"""Of this process. There is one, as there is one process; code deep inside of loading tells of its progress here."""


def end_when_lost(
    *,
    left_s: Callable[[], float],
    hang_s: float | None,
    tell: Callable[[str | None], None],
    end: Callable[[int], object] = os._exit,
    heart: Heartbeat = HEART,
    last_word_s: float = LAST_WORD_S,
) -> Callable[[], bool]:
    """The look of the trainer's own watch: ends the process when its main thread can no longer do so itself.

    Args:
        left_s: seconds until the first cap.
        hang_s: longest time without progress; None: for ever.
        tell: says why as the last event of the run, with the message of a failure, or None where a cap was reached.
        end: ends this process with a status.
        heart: whose progress counts.
        last_word_s: longest time for telling.
    """

    def look() -> bool:
        stuck_s = heart.stuck_s()
        if left_s() <= 0:
            message, status = None, 0
        elif hang_s is not None and stuck_s > hang_s:
            message, status = f"The task hung: nothing has moved for {stuck_s:.0f} s (limit: {hang_s:.0f} s).", 1
        else:
            return False
        _say(message or "the cap was reached while the program was at work")
        try:
            _within(last_word_s, lambda: tell(message))
        finally:
            end(status)
        return True

    return look


def _within(limit_s: float, tell: Callable[[], None]) -> None:
    """Let something be told, however that goes: a full disk, or a lock that a stuck thread holds, keeps no cap open."""

    def work() -> None:
        try:
            tell()
        except Exception as error:  # The process ends anyhow; that it says nothing must not keep it.
            _say(f"the last event could not be told: {error!r}")

    teller = threading.Thread(target=work, name="last-word", daemon=True)
    teller.start()
    teller.join(limit_s)
    if teller.is_alive():
        _say(f"the last event was not told in {limit_s:.0f} s")


def _say(message: str) -> None:
    sys.stderr.write(f"tasks.heartbeat: {message}\n")
    sys.stderr.flush()
