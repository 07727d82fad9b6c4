"""What becomes of a run when its probe renews the quote: the user's rule, an answer, or time.

Whoever adopts a run goes on where its client was: with the quote as it was renewed, and with the question that is open.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from manager.errors import StateError
from manager.runs.database import LedgerAwayError
from manager.runs.requote import Question, Requote, requote
from manager.runs.requote_rows import RequoteRow, RequoteStep, answer_in, open_until_s
from manager.runs.session import Session
from manager.runs.updates import RequoteUpdate
from manager.runs.verdict import End, EndReason
from manager.spec.model import Requoting
from manager.units import format_usd
from tasks.protocol import Event, EventType

LEAST_ASKED_USD = Decimal("0.01")
"""Nobody is asked about less."""


class RequoteRule:
    """Decides once in a run, on its probe; the run goes on while somebody is asked."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._renewed: Requote | None = None
        self._question: Question | None = None
        self._asked_until_s = 0.0
        self._end: End | None = None
        self._is_over = False
        """A client before has decided, or nobody can tell."""

    def resume(self) -> None:
        """Take up what the client before left undecided, of a run that is adopted."""
        session = self._session
        probe = next((event for event in session.ledger.events(session.run_id) if event.type is EventType.PROBE), None)
        if probe is None:
            return
        try:
            rows = session.ledger.requotes(session.run_id)
        except LedgerAwayError as error:
            # Undecided, and told: a ledger that is away ends no run.
            session.note(f"what became of the renewed quote cannot be read: {error.message}; the run keeps its cap")
            self._is_over = True
            return
        if any(row.step is RequoteStep.SETTLED for row in rows):
            self._is_over = True
            return
        kept = next((row for row in rows if row.step is RequoteStep.RENEWED), None)
        # What remained was measured then, so that what was billed counts up to then.
        renewed = self._renew(probe, min(probe.time_s, session.clock()) if kept is None else kept.at_s)
        if renewed is None:
            return
        if kept is None:
            self._tell(renewed)
        said, until_s = answer_in(rows), open_until_s(rows, session.clock())
        if said is not None:
            self._heed(renewed, goes_on=said)
        elif until_s is not None:
            self._asked_until_s, self._question = until_s, _KeptQuestion(session)
        else:
            self._decide(renewed, session.clock())

    def observe(self, event: Event) -> None:
        """An event that was stored; a second probe changes nothing."""
        if event.type is not EventType.PROBE or self._renewed is not None or self._is_over:
            return
        now_s = self._session.clock()
        renewed = self._renew(event, now_s)
        if renewed is not None:
            self._tell(renewed)
            self._decide(renewed, now_s)

    def why_end(self) -> End | None:
        """The end that the rule asks for; None: none, or none yet."""
        if self._question is not None and self._renewed is not None:
            self._look_for_answer(self._question, self._renewed)
        return self._end

    def close(self) -> None:
        """The run is over: nobody is asked any more."""
        if self._question is not None:
            self._question.withdraw()
            self._question = None

    def _renew(self, probe: Event, at_s: float) -> Requote | None:
        """The quote as of a moment; None before the launch."""
        session = self._session
        if session.meter is None or session.offer is None:
            return None
        self._renewed = requote(
            probe,
            session.plan,
            session.offer,
            billed_s=max(0.0, at_s - session.meter.billing_started_at_s),
            price_usd_per_hour=session.meter.price_usd_per_hour,
            cap_usd=session.cap_left_usd(),
        )
        return self._renewed

    def _tell(self, renewed: Requote) -> None:
        self._keep(RequoteStep.RENEWED, renewed.text)
        self._session.tell(RequoteUpdate(run_id=self._session.run_id, requote=renewed))

    def _decide(self, renewed: Requote, now_s: float) -> None:
        rule = Requoting(self._session.plan.spec.budget.requote)
        if not (renewed.is_above or renewed.breaks_cap):
            self._keep(RequoteStep.SETTLED, "within what is tolerated; the run goes on")
        elif rule is Requoting.CONTINUE:
            self._go_on("the quote is exceeded; the run goes on, as budget.requote says")
        elif rule is Requoting.ABORT:
            self._stop(renewed, "as budget.requote says")
        elif not renewed.breaks_cap and renewed.excess_usd < LEAST_ASKED_USD:
            self._go_on(f"the quote is exceeded by less than {format_usd(LEAST_ASKED_USD)}; the run goes on")
        elif self._session.ask is None:
            self._settle(renewed, "nobody is there to ask")
        else:
            patience_s = self._session.settings.requote_answer_s
            self._asked_until_s = now_s + patience_s
            self._question = self._session.ask(renewed, patience_s)

    def _look_for_answer(self, question: Question, renewed: Requote) -> None:
        answer = question.answer()
        if answer is None and self._session.clock() < self._asked_until_s:
            return
        self.close()
        if answer is None:
            self._settle(renewed, "nobody answered")
        else:
            self._heed(renewed, goes_on=answer)

    def _heed(self, renewed: Requote, *, goes_on: bool) -> None:
        if goes_on:
            self._go_on("the run goes on at the renewed quote, as you answered")
        else:
            self._stop(renewed, "as you answered")

    def _settle(self, renewed: Requote, why: str) -> None:
        """Without an answer only a cap ends a run: training until then would be paid for nothing."""
        if renewed.breaks_cap:
            self._stop(renewed, f"as {why}, and the cap would be broken")
        else:
            self._go_on(f"the quote is exceeded; {why}, and the run goes on: it keeps its cap")

    def _go_on(self, text: str) -> None:
        self._session.note(text)
        self._keep(RequoteStep.SETTLED, text)

    def _stop(self, renewed: Requote, why: str) -> None:
        self._end = End(reason=EndReason.REQUOTED, message=f"{renewed.text}; ended {why}")
        self._keep(RequoteStep.SETTLED, f"ended {why}")

    def _keep(self, step: RequoteStep, text: str) -> None:
        """For whoever looks at the run from elsewhere."""
        session = self._session
        row = RequoteRow(step=step, at_s=session.clock(), text=text)
        session.ledger.add_requote(session.run_id, row)


class _KeptQuestion:
    """One that the client before has put into the ledger, where it is still open."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._looked_at_s = 0.0

    def answer(self) -> bool | None:
        """True: go on; False: end the run; None: no answer yet, or none that can be read now."""
        now_s = self._session.clock()
        if now_s - self._looked_at_s < self._session.settings.stop_poll_s:
            return None
        self._looked_at_s = now_s
        with suppress(StateError):
            return answer_in(self._session.ledger.requotes(self._session.run_id))
        return None

    def withdraw(self) -> None:
        """It closes with its time."""
