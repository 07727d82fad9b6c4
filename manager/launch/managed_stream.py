"""Following a managed job to its end, over all its machines: its log for the texts, the run's bucket for the events.

A training program with a bucket tells an event only when it is stored (`tasks.event_sync`), so that whatever comes
from the log is in the bucket too, and what a lost machine has told is what the next one goes on from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from manager.errors import EngineError
from manager.launch.engine import MachineNews, MachineState
from manager.launch.sky_events import EventMerger
from manager.launch.sky_stream import ENDED
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from tasks.protocol import Event
from tasks.stores.errors import StoreError

POLL_S = 5.0
"""Between two looks at the job's state and into the bucket."""
MAX_SILENT_LOOKS = 60
"""Looks in a row without an answer, before giving up."""
END_ATTEMPTS = 4
"""To read the last events."""


class ManagedFollower:
    """One managed job's stream."""

    def __init__(
        self,
        *,
        worker: SkyWorker,
        look: Callable[[], tuple[MachineState, list[MachineNews]]],
        read_events: Callable[[int], bytes],
        sleep: Callable[[float], None],
        poll_s: float = POLL_S,
    ) -> None:
        """Args:
        worker: for the log alone; closed at the end.
        look: state of the task, and what there is to tell of machines; SkyPilotError where nobody answers.
        read_events: lines of the events behind a sequence number, from the bucket; StoreError where it does not answer.
        sleep: waits that many seconds.
        poll_s: see POLL_S.
        """
        self._worker = worker
        self._look = look
        self._read_events = read_events
        self._sleep = sleep
        self._poll_s = poll_s
        self._looked_at = 0.0
        self._silent = 0
        self._state = MachineState.UNKNOWN

    def follow(self, job_id: int, merger: EventMerger) -> Iterator[Event | str | MachineNews]:
        """Events, texts and news until the job has ended and all its events were read.

        Raises:
            EngineError: SkyPilot stayed silent, or the last events cannot be read; the job may still run.
        """
        try:
            while self._state not in ENDED:
                merger.restart()
                yield from self._follow_log(job_id, merger)
                if self._state not in ENDED:
                    self._sleep(self._poll_s)
                    yield from self._look_around(merger)
            yield from self._read_to_end(merger)
        finally:
            self._worker.close()

    def _follow_log(self, job_id: int, merger: EventMerger) -> Iterator[Event | str | MachineNews]:
        lines = self._worker.lines("managed_tail", {"job_id": job_id}, silence_s=self._poll_s)
        try:
            for line in lines:
                if line is not None:
                    yield from merger.take_log_line(line)
                if time.monotonic() - self._looked_at >= self._poll_s:
                    yield from self._look_around(merger)
                if self._state in ENDED:
                    return
        except SkyPilotError:
            # Broken, or not there yet: the caller comes back.
            return
        finally:
            lines.close()

    def _look_around(self, merger: EventMerger) -> Iterator[Event | MachineNews]:
        try:
            self._state, news = self._look()
            self._silent = 0
        except SkyPilotError as error:
            self._silent += 1
            if self._silent >= MAX_SILENT_LOOKS:
                raise EngineError(
                    f"SkyPilot has not answered {self._silent} times: {error.message}",
                    hint="The managed job goes on without it: see `tunefare reconcile`, or `sky jobs queue`.",
                ) from error
            news = []
        yield from news
        # What cannot be read now is there at the next look.
        with suppress(StoreError):
            yield from merger.take_file(self._read_events(merger.next_seq - 1))
        self._looked_at = time.monotonic()

    def _read_to_end(self, merger: EventMerger) -> Iterator[Event | str]:
        for attempt in range(END_ATTEMPTS):
            try:
                yield from merger.take_file(self._read_events(merger.next_seq - 1))
                break
            except StoreError as error:
                if attempt == END_ATTEMPTS - 1 and not merger.is_complete:
                    raise EngineError(
                        f"the task has ended, but its events cannot be read: {error}",
                        hint="They are in the run's bucket: try `tunefare fetch` when it answers.",
                    ) from error
                self._sleep(2.0**attempt)
        yield from merger.take_rest()
