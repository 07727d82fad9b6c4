"""What becomes of a run when its probe renews the quote: the user's rule, an answer, or time."""

from __future__ import annotations

from decimal import Decimal

from manager.runs.requote import Question, Requote, requote
from manager.runs.requote_rows import RequoteRow, RequoteStep
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

    def observe(self, event: Event) -> None:
        """An event that was stored; a second probe changes nothing."""
        session = self._session
        if event.type is not EventType.PROBE or self._renewed is not None:
            return
        if session.meter is None or session.offer is None:
            return
        now_s = session.clock()
        renewed = requote(
            event,
            session.plan,
            session.offer,
            billed_s=now_s - session.meter.billing_started_at_s,
            price_usd_per_hour=session.meter.price_usd_per_hour,
            cap_usd=session.cap_usd,
        )
        self._renewed = renewed
        self._keep(RequoteStep.RENEWED, renewed.text)
        session.tell(RequoteUpdate(run_id=session.run_id, requote=renewed))
        if renewed.is_above or renewed.breaks_cap:
            self._decide(renewed, now_s)
        else:
            self._keep(RequoteStep.SETTLED, "within what is tolerated; the run goes on")

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

    def _decide(self, renewed: Requote, now_s: float) -> None:
        rule = Requoting(self._session.plan.spec.budget.requote)
        if rule is Requoting.CONTINUE:
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
        elif answer:
            self._go_on("the run goes on at the renewed quote, as you answered")
        else:
            self._stop(renewed, "as you answered")

    def _settle(self, renewed: Requote, why: str) -> None:
        """Without an answer only a cap ends a run: training until then would be paid for nothing."""
        if renewed.breaks_cap:
            self._stop(renewed, f"{why}, and the cap would be broken")
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
