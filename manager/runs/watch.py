"""From a running task to the reason to end it: events into the ledger, charges, caps, stop requests, signals."""

from __future__ import annotations

import time
from decimal import Decimal

from manager.errors import EngineError
from manager.launch.engine import Handle, MachineNews
from manager.runs.beats import beat
from manager.runs.hang import hang_words
from manager.runs.interrupts import Interrupts
from manager.runs.pump import Background, Pump, StreamEnd
from manager.runs.requote_rule import RequoteRule
from manager.runs.session import Meter, Session, keeps_limits
from manager.runs.states import RunState
from manager.runs.stop_requests import StopRequests
from manager.runs.streamed_log import StreamedLog
from manager.runs.updates import LogUpdate
from manager.runs.verdict import End, EndReason, end_on_request
from manager.units import apart_usd, format_duration, format_usd
from tasks.protocol import Event

MAX_BATCH = 500
"""Events in one transaction."""
MIN_STEPS_TO_PROJECT = 20
"""A projection from fewer steps ends no run."""


def watch(session: Session, interrupts: Interrupts, *, end: End | None = None) -> End:
    """Follow the task until it has ended; returns why.

    Args:
        session: with handle and meter.
        interrupts: counts the user's signals.
        end: the task shall be ended from the start, for this reason.

    Raises:
        EngineError: the stream broke for good.
        StateError: the ledger cannot take what came.
    """
    assert session.handle is not None, "a task that runs has a handle"
    assert session.meter is not None, "a task that runs is billed"
    return _Watch(session, session.handle, session.meter, interrupts).run(end)


class _Watch:
    def __init__(self, session: Session, handle: Handle, meter: Meter, interrupts: Interrupts) -> None:
        self._session = session
        self._settings = session.settings
        self._handle = handle
        self._meter = meter
        self._interrupts = interrupts
        self._batch: list[Event] = []
        self._batch_since_s = 0.0
        self._charged_at_s = session.clock()
        self._moved_at_s = session.clock()
        self._requests = StopRequests(session)
        self._requote = RequoteRule(session)
        self._end: End | None = None
        self._give_up_at = 0.0
        self._signals_before = 0
        self._canceller: Background | None = None
        self._log = StreamedLog(session.run_dir, session.engine)

    def run(self, end: End | None) -> End:
        session = self._session
        last_seq = session.ledger.run(session.run_id).last_seq
        engine, handle = session.engine, self._handle
        pump = Pump(lambda: engine.stream(handle, after_seq=last_seq))
        try:
            if end is not None:
                self._begin_end(end)
            else:
                self._requote.resume()
            while not self._over():
                item = pump.next(self._settings.poll_s)
                if isinstance(item, StreamEnd):
                    self._flush()
                    self._raise_broken(item)
                    break
                self._take(item)
                self._keep_rhythm()
            self._flush()
        finally:
            pump.abandon()
            self._requote.close()
            self._log.close()
        if self._canceller is not None:
            # The task has ended or is given up; `down` follows in either case.
            self._canceller.join(self._patience_s(self._end))
        return self._end or End(reason=EndReason.ENDED)

    def _take(self, item: Event | str | MachineNews | None) -> None:
        if isinstance(item, MachineNews):
            self._tell_news(item)
        elif isinstance(item, str):
            trouble = self._log.write(item)
            self._session.tell(LogUpdate(run_id=self._session.run_id, text=item))
            if trouble is not None:
                self._session.note(trouble)
        elif item is not None:
            self._moved_at_s = self._session.clock()
            if not self._batch:
                self._batch_since_s = self._session.clock()
            self._batch.append(item)

    def _tell_news(self, news: MachineNews) -> None:
        """Into the run's history, while nobody is ending it."""
        self._moved_at_s = self._session.clock()
        if self._session.ledger.state(self._session.run_id) is RunState.RUNNING:
            self._session.enter(RunState.RUNNING, news.words)
        else:
            self._session.note(news.words)

    def _keep_rhythm(self) -> None:
        now_s = self._session.clock()
        waited_s = now_s - self._batch_since_s
        if len(self._batch) >= MAX_BATCH or (self._batch and waited_s >= self._settings.event_batch_s):
            self._flush()
        if now_s - self._charged_at_s >= self._settings.charge_interval_s:
            self._charged_at_s = now_s
            self._charge_or_beat(now_s)
        end = self._why_end(now_s) if self._end is None else self._more_urgent_than(self._end)
        if end is not None:
            self._begin_end(end)

    def _charge_or_beat(self, now_s: float) -> None:
        """A row each interval tells watchers that somebody supervises, also while a silent provider bills nothing."""
        before_s = self._meter.billed_to_s
        self._session.charge_to(now_s)
        if self._meter.billed_to_s == before_s:
            beat(self._session)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._session.take(batch)
            for event in batch:
                self._requote.observe(event)

    def _why_end(self, now_s: float) -> End | None:
        request = self._requests.look(at_once=self._interrupts.count > 0)
        if request is not None:
            return end_on_request(request)
        if self._interrupts.count:
            return End(reason=EndReason.INTERRUPTED)
        if (left := self._session.tell.left) is not None:
            return End(reason=EndReason.INTERRUPTED, message=left.message, hint=left.hint)
        return self._requote.why_end() or self._over_limit(now_s) or self._hangs(now_s)

    def _hangs(self, now_s: float) -> End | None:
        """Where the task runs on this machine its signs of life lie in the run's folder."""
        hang_s, session = self._settings.hang_s, self._session
        if hang_s is None or session.engine.name != "local" or not keeps_limits(self._handle):
            return None
        words = hang_words(session.run_dir, since_s=self._moved_at_s, now_s=now_s, hang_s=hang_s)
        return None if words is None else End(reason=EndReason.HUNG, message=words)

    def _more_urgent_than(self, end: End) -> End | None:
        """An end at once, asked for while the task is given its time."""
        if end.reason is EndReason.STOP_NOW:
            return None
        request = self._requests.look()
        return end_on_request(request) if request is not None and request.now else None

    def _over_limit(self, now_s: float) -> End | None:
        """The end, where what is left of cap or duration is just enough for an end in good order."""
        limit = self._session.limit()
        if limit is None or now_s < limit.end_at_s:
            return self._over_projection()
        if limit.is_cap:
            return End(reason=EndReason.CAP, message=self._spent(now_s))
        longest_s = self._session.max_duration_s
        assert longest_s is not None, "the limit is one of time"
        return End(reason=EndReason.DURATION, message=f"it may take {format_duration(longest_s)}")

    def _spent(self, now_s: float) -> str:
        cap, cost = self._session.cap_usd, self._meter.cost_usd(now_s)
        assert cap is not None, "the limit is one of dollars"
        beside = self._session.beside_usd(now_s)
        extra = f", and {format_usd(beside)} for disk, address and traffic home" if beside else ""
        # A replacement machine may have no known price: its time counts as the limit counts it.
        spent = "an unknown part" if cost is None else format_usd(cost)
        return f"{spent} spent of {format_usd(cap)}{extra}"

    def _over_projection(self) -> End | None:
        cap = self._session.cap_usd
        if cap is None or not keeps_limits(self._handle):
            return None
        projected = self._surely_costs()
        if projected is None or projected <= cap:
            return None
        least, most = apart_usd(projected, cap)
        return End(reason=EndReason.CAP, message=f"it would cost at least {least}, the cap is {most}")

    def _surely_costs(self) -> Decimal | None:
        """Low end of the projection, where it rests on enough steps and on a count of steps that was not guessed."""
        profile = self._session.plan.profile
        if self._session.progress.steps < MIN_STEPS_TO_PROJECT or not profile.data.measured:
            return None
        projected = self._session.projected_usd()
        return None if projected is None else projected.low

    def _begin_end(self, end: End) -> None:
        self._end = end
        self._signals_before = self._interrupts.count
        engine, handle = self._session.engine, self._handle
        is_now = end.reason is EndReason.STOP_NOW
        # Nothing is saved where the end is at once: the run goes from running to its teardown.
        if not is_now and self._session.ledger.state(self._session.run_id) is RunState.RUNNING:
            self._session.enter(RunState.STOPPING, end.detail)
        grace_s = 0.0 if is_now else self._grace_s()
        self._give_up_at = time.monotonic() + grace_s + self._patience_s(end)
        self._canceller = Background(lambda: engine.cancel(handle, grace_s=grace_s), "cancel")

    def _grace_s(self) -> float:
        """For the trainer's checkpoint: the setting, or less where the limit is near."""
        limit = self._session.limit()
        longest_s = self._settings.cancel_grace_s
        return longest_s if limit is None else max(0.0, min(longest_s, limit.fetch_at_s - self._session.clock()))

    def _patience_s(self, end: End | None) -> float:
        """For what was killed to vanish, beyond its grace."""
        is_now = end is not None and end.reason is EndReason.STOP_NOW
        return self._settings.kill_patience_s if is_now else self._settings.cancel_margin_s

    def _over(self) -> bool:
        """Whether to wait no longer for the task: it was given its time, or the user asked twice."""
        if self._end is None:
            return False
        impatient = self._interrupts.count > self._signals_before
        return impatient or time.monotonic() >= self._give_up_at or self._at_limit()

    def _at_limit(self) -> bool:
        limit = self._session.limit()
        return limit is not None and self._session.clock() >= limit.fetch_at_s

    def _raise_broken(self, item: StreamEnd) -> None:
        if item.error is None or self._end is not None:
            return
        if isinstance(item.error, EngineError):
            raise item.error
        raise EngineError(
            f"the event stream of {self._session.run_id} broke: {item.error}",
            hint="The run was taken down; its events were fetched as far as possible.",
        ) from item.error
