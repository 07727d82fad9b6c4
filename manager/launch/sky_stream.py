"""Following a task to its end: the log while it lasts, the events file whenever the log is in doubt.

Owns the rule when to read which, and when to give up; knows no SkyPilot call by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from manager.errors import EngineError
from manager.launch.engine import MachineState
from manager.launch.sky_events import EventMerger
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from tasks.protocol import Event

SILENCE_S = 30.0
"""Without a line for this long, the state and the events file are looked at."""
GAP_PAUSE_S = 10.0
"""Between two readings of the events file for the sake of a gap in the log."""
MAX_FRUITLESS = 8
"""Broken streams in a row that brought nothing new, before giving up."""
MAX_BACKOFF_S = 30.0
START_PATIENCE_S = 3600.0
"""For a machine that is being set up and has no log, before it counts as unreachable."""
ENDED = frozenset({MachineState.SUCCEEDED, MachineState.FAILED, MachineState.SETUP_FAILED, MachineState.GONE})


class Follower:
    """One task's stream."""

    def __init__(
        self,
        *,
        worker: SkyWorker,
        status: Callable[[], MachineState],
        read_events: Callable[[], bytes],
        sleep: Callable[[float], None],
        silence_s: float = SILENCE_S,
    ) -> None:
        """Args:
        worker: for the log alone; closed at the end.
        status: state of machine and task, without an error.
        read_events: the machine's events file; SkyPilotError when it cannot be read.
        sleep: waits that many seconds.
        silence_s: see SILENCE_S.
        """
        self._worker = worker
        self._status = status
        self._read_events = read_events
        self._sleep = sleep
        self._silence_s = silence_s
        self._gap_read_at = 0.0

    def follow(self, cluster: str, job_id: int | None, merger: EventMerger) -> Iterator[Event | str]:
        """Events and texts until the task has ended and its events file was read to the end.

        Raises:
            EngineError: the machine stayed unreachable; the task may still run.
        """
        fruitless = 0
        patience_ends = time.monotonic() + START_PATIENCE_S
        try:
            while True:
                seen = merger.next_seq
                merger.restart()
                yield from self._follow_log(cluster, job_id, merger)
                state = self._status()
                if state in ENDED:
                    yield from self._read_to_end(merger, state)
                    return
                # A machine that is being set up has no log yet; that is no broken stream.
                waiting = state is MachineState.STARTING and time.monotonic() < patience_ends
                fruitless = 0 if waiting or merger.next_seq > seen else fruitless + 1
                if fruitless >= MAX_FRUITLESS:
                    raise EngineError(
                        f"the log of {cluster} broke {fruitless} times and the machine's state is '{state}'",
                        hint="The task may still be running: see `tunefare runs`, then `tunefare stop` or `reconcile`.",
                    )
                self._sleep(min(MAX_BACKOFF_S, 2.0 ** max(fruitless, 1)))
        finally:
            self._worker.close()

    def _follow_log(self, cluster: str, job_id: int | None, merger: EventMerger) -> Iterator[Event | str]:
        lines = self._worker.lines("tail", {"cluster": cluster, "job_id": job_id}, silence_s=self._silence_s)
        try:
            for line in lines:
                if line is not None:
                    yield from merger.take_log_line(line)
                    if merger.has_gap and time.monotonic() - self._gap_read_at > GAP_PAUSE_S:
                        self._gap_read_at = time.monotonic()
                        yield from self._try_file(merger)
                elif self._status() in ENDED:
                    return
                else:
                    yield from self._try_file(merger)
        except SkyPilotError:
            # Broken, or not there yet: the caller looks at the state and comes back.
            return
        finally:
            lines.close()

    def _try_file(self, merger: EventMerger) -> Iterator[Event]:
        try:
            content = self._read_events()
        except SkyPilotError:
            return
        yield from merger.take_file(content)

    def _read_to_end(self, merger: EventMerger, state: MachineState) -> Iterator[Event | str]:
        for attempt in range(3):
            # After the last word there is nothing to read, and the machine is billed meanwhile.
            if state is MachineState.GONE or (merger.is_complete and not merger.has_gap):
                break
            try:
                content = self._read_events()
            except SkyPilotError as error:
                if attempt == 2 and not merger.is_complete:
                    raise EngineError(
                        f"the task has ended, but its events cannot be read: {error.message}",
                        hint="The machine is still there: try `tunefare reconcile` before it is taken down.",
                    ) from error
                self._sleep(2.0**attempt)
            else:
                yield from merger.take_file(content)
                break
        yield from merger.take_rest()
