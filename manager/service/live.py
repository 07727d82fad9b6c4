"""Follow a run: read what is new of it in the ledger and in its log, and tell how it stands.

Owns no rule of a run; what is billed, projected and judged follows the modules that supervise and report. A ledger that
cannot be read for a while is no error: what was known stays, and since when it is old is told.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from itertools import islice

from manager.errors import StateError, UsageError
from manager.launch.engine import LOG_FILE
from manager.reports.wording import plain
from manager.runs.changes import Marks
from manager.runs.clients import lives
from manager.runs.ledger_reader import LedgerReader
from manager.runs.states import FINAL, MAY_BILL
from manager.service import live_figures as figures
from manager.service.context import Context
from manager.service.inspection import find_run, open_ledger
from manager.service.live_digest import RunDigest
from manager.service.live_requote import live_requote
from manager.service.live_run import LiveRun
from manager.service.live_series import MOST_POINTS
from manager.service.log_reading import LogFile
from tasks.kinds import TASK_KINDS

MOST_LINES = 5000
"""Of the log that are kept."""
_MOST_CHARACTERS = 1000
"""Of a line of the log that are kept."""
_FIRST_LOG_BYTES = 1 << 20
_EVENTS_PER_READ = 2000
_MOST_READS = 5
"""Of events in one poll: what is left is taken by the next one."""
_BUSY_TIMEOUT_S = 0.2


class Follower:
    """Follows one run; any thread may poll, one at a time does."""

    def __init__(self, context: Context, run: str, *, most_points: int = MOST_POINTS) -> None:
        """Find the run by its id or the unique beginning of it.

        Raises:
            UsageError: none is called so, or several.
            StateError: the ledger cannot be read.
        """
        record = find_run(context, run)
        self.run_id = record.run_id
        self._context = context
        self._record = record
        self._digest = RunDigest(most_points=most_points)
        self._marks = Marks()
        self._log = LogFile(record.run_dir / LOG_FILE, most_bytes=_FIRST_LOG_BYTES)
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._log_version = 0
        self._path = context.home.ledger_file
        self._reader: LedgerReader | None = None
        self._file: tuple[int, int] | None = None
        self._stale_since_s: float | None = None
        self._stale_reason: str | None = None
        self._has_more = False
        self._has_client: bool | None = None
        """As the server of a shared ledger said; None: the rows of a file say it."""
        self._is_closed = False
        self._lock = threading.Lock()

    def poll(self) -> LiveRun:
        """Read what is new and tell how the run stands."""
        try:
            with self._lock:
                return self._look()
        finally:
            if self._is_closed:
                self.close()

    def log_since(self, version: int, search: str = "") -> tuple[int, tuple[str, ...]]:
        """The version of the log now, and its lines since another one as far as they are kept; only
        those that hold `search`, in any case."""
        wanted = search.casefold()
        with self._lock:
            new = min(self._log_version - version, len(self._lines))
            lines = islice(self._lines, len(self._lines) - new, None)
            return self._log_version, tuple(line for line in lines if wanted in line.casefold())

    def close(self) -> None:
        """Follow no more. Waits for no poll: one that is under way closes what it read when it has ended."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _look(self) -> LiveRun:
        now_s = self._context.clock()
        try:
            self._read(now_s)
            self._stale_since_s = self._stale_reason = None
        except StateError as error:
            self._close()
            if not self._digest.history:
                raise
            self._stale_since_s = now_s if self._stale_since_s is None else self._stale_since_s
            self._stale_reason = error.message
        self._read_log()
        return self._tell(now_s)

    def _read(self, now_s: float) -> None:
        reader = self._connected()
        for _ in range(_MOST_READS):
            changes = reader.changes(self.run_id, self._marks, most_events=_EVENTS_PER_READ)
            self._digest.take(changes, now_s=now_s)
            self._marks, self._has_more = changes.marks, changes.has_more_events
            if not self._has_more:
                break
        if self._context.ledger_url is not None:
            # Rows carry the times of their writers' clocks: only the server can tell how long one is silent.
            self._has_client = reader.client_lives(self.run_id, now_s)

    def _connected(self) -> LedgerReader:
        """A connection to the file that has the ledger's name now: another one may have taken its place."""
        if self._context.ledger_url is not None:
            if self._reader is None:
                self._reader = open_ledger(self._context, patience_s=_BUSY_TIMEOUT_S)
            return self._reader
        try:
            facts = os.stat(self._path)
        except OSError as error:
            raise StateError(
                f"the ledger {self._path} cannot be found: {error.strerror}",
                hint="Put it back, or point TUNEFARE_HOME at its folder.",
            ) from error
        file = (facts.st_dev, facts.st_ino)
        if self._reader is None or file != self._file:
            self._close()
            self._reader = LedgerReader.open_for_reading(self._path, busy_timeout_s=_BUSY_TIMEOUT_S)
            self._file = file
            try:
                self._reader.state(self.run_id)
            except UsageError as error:
                raise StateError(
                    f"the ledger {self._path} does not know the run {self.run_id} any more",
                    hint="Another file has taken its place: restore the one with this run.",
                ) from error
        return self._reader

    def _close(self) -> None:
        reader, self._reader, self._file = self._reader, None, None
        if reader is not None:
            reader.close()

    def _read_log(self) -> None:
        try:
            new = self._log.read(to_end=self._digest.state in FINAL)
        except OSError:
            return  # A log that cannot be read now is read by the next poll, from where this one stood.
        for line in new:
            # Of a progress bar only its last state.
            text = line.rstrip("\r").rsplit("\r", 1)[-1][:_MOST_CHARACTERS]
            self._lines.append(text if text.isprintable() else plain(text))
        self._log_version += len(new)

    def _tell(self, now_s: float) -> LiveRun:
        digest, record = self._digest, self._record
        plan, spec, train = record.plan, record.plan.spec, digest.train
        has_client = self._has_client
        if has_client is None:
            has_client = lives(digest.client, last_activity_s=digest.last_activity_s, now_s=now_s)
        cost = figures.cost_usd(digest, now_s)
        beside = figures.billed_beside_usd(plan, digest, now_s)
        ahead = figures.look_ahead(plan, digest, now_s)
        estimate = figures.estimate_of(plan, digest)
        offer = digest.offer
        return LiveRun(
            run_id=self.run_id,
            name=spec.name,
            polled_at_s=now_s,
            state=digest.state,
            state_detail=digest.history[-1].detail,
            history=tuple(digest.history),
            may_bill=digest.state in MAY_BILL,
            is_over=digest.state in FINAL,
            has_client=has_client,
            stop_asked=digest.stop_request,
            created_at_s=record.created_at_s,
            model=spec.model.source,
            task=spec.task,
            method=spec.method.kind,
            offer=offer,
            device=digest.device,
            failed_attempts=tuple(digest.failed_attempts),
            phases=digest.clock.phases(
                digest.history,
                shift_s=digest.shift_s,
                now_s=now_s,
                lines=() if estimate is None else estimate.lines,
            ),
            step=digest.progress.steps,
            steps=plan.profile.steps,
            epoch=_number(train.get("epoch")),
            series=digest.series(spec.training.metric),
            metric=spec.training.metric,
            speed=_number(train.get("tokens_per_s")),
            speed_unit=f"{TASK_KINDS[spec.task].samples}/s",
            peak_memory_bytes=_whole(train.get("peak_memory_bytes")),
            device_memory_bytes=None if offer is None else offer.accelerator_memory_bytes,
            utilization_percent=_number(train.get("utilization_percent")),
            cost_usd=cost,
            beside_usd=beside,
            unconfirmed_usd=figures.unconfirmed_usd(digest, now_s),
            price_usd_per_hour=None if offer is None else offer.price_usd_per_hour,
            cap_usd=record.cap_usd,
            cap_share=figures.cap_share(cost, beside, record.cap_usd),
            projected_usd=ahead.usd,
            projected_cap_share=figures.projected_cap_share(ahead, record.cap_usd),
            projected_basis=ahead.basis,
            left_s=ahead.left_s,
            evidence=digest.evidence,
            warnings=tuple(digest.warnings),
            guard_warning=digest.guard_warning,
            preemptions=digest.preemptions,
            requote=live_requote(digest.requotes, now_s=now_s, is_over=digest.state in FINAL),
            error=figures.error_of(digest, self.run_id),
            alarm=figures.alarm_of(digest, self.run_id, has_client=has_client, now_s=now_s),
            stale_since_s=self._stale_since_s,
            stale_reason=self._stale_reason,
            is_catching_up=self._has_more,
            log_version=self._log_version,
            latest=dict(digest.latest),
        )


def live_run(context: Context, run: str) -> LiveRun:
    """How a run stands now, by its id or the unique beginning of it."""
    follower = Follower(context, run)
    try:
        while (live := follower.poll()).is_catching_up:
            pass
        return live
    finally:
        follower.close()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
