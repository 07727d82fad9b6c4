"""The pane of offers: asks again at each change, shows what came, and never blocks a key or shows an old answer.

Owns the order of answers. A question waits until nobody types for a moment, one is asked at a time, and an answer to a
question that is no longer the user's is dropped. The quick answer is shown at once; the whole one follows when nothing
else is asked. What is shown of an answer is `answer_view`'s.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from tui.actions import bindings
from tui.screens.plan.answer_view import AnswerView
from tui.threads import Failed
from tui.widgets.table import RowTable

if TYPE_CHECKING:
    from manager.service.nouns import Estimate, Plan, RunSpec
    from manager.service.offer_words import Why
    from manager.service.replanning import PlanSession, Shown
    from tui.app import TunefareApp

_WAIT_S = 0.06
"""After the last change, before it is asked."""
_ANSWER, _LAUNCH, _WHY, _COMPARE = "answer", "launch", "why", "compare"
_LEAST_ROWS, _MOST_ROWS = 24, 200


class Answered(Message):
    """An answer came."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown


class Told(Message):
    """Something that takes long has begun."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class WhyFound(Message):
    """One offer in full."""

    def __init__(self, why: Why) -> None:
        super().__init__()
        self.why = why


class OffersFound(Message):
    """Offers to compare, each with its bill where it can be estimated."""

    def __init__(self, estimates: tuple[Estimate, ...]) -> None:
        super().__init__()
        self.estimates = estimates


class OfferPane(Vertical):
    """What the job costs where, and everything that can be asked about it."""

    SCOPE: ClassVar[str] = "offers"
    BINDINGS = bindings("offers")

    class LaunchAsked(Message):
        """The user wants to launch this plan; it is saved."""

        def __init__(self, plan: Plan, asked: RunSpec) -> None:
            super().__init__()
            self.plan = plan
            self.asked = asked
            """What the plan answers: the question when the key was pressed."""

    class FixChosen(Message):
        """The user wants these values in the run file, by dotted key."""

        def __init__(self, changes: tuple[tuple[str, object], ...]) -> None:
            super().__init__()
            self.changes = changes

    class Replanned(Message):
        """An answer is on the screen."""

        def __init__(self, shown: Shown) -> None:
            super().__init__()
            self.shown = shown

    def __init__(self, *, session: PlanSession | None = None, id: str | None = None) -> None:  # noqa: A002
        """
        Args:
            session: answers; None: one of the application's context, when the first question comes.
            id: as any widget's.
        """
        super().__init__(id=id)
        self._session = session
        self._wanted: RunSpec | None = None
        self._why_not = ""
        """Why there is no question."""
        self._asked: RunSpec | None = None
        """The question under way."""
        self._reads_again = False
        self._timer: Timer | None = None
        self._failed: RunSpec | None = None
        """The question that ended with an error; it is not asked again by itself."""

    def compose(self) -> ComposeResult:
        """All that is shown."""
        yield AnswerView()

    def on_mount(self) -> None:
        """The key stands beside the title."""
        self.border_title = "Offers · by dollars to a finished job"

    @property
    def view(self) -> AnswerView:
        """What is shown."""
        return self.query_one(AnswerView)

    @property
    def shown(self) -> Shown | None:
        """The answer on the screen; None before the first."""
        return self.view.shown

    @property
    def is_up_to_date(self) -> bool:
        """Whether the whole answer to the last question is on the screen."""
        shown = self.shown
        return shown is not None and shown.is_whole and shown.spec == self._wanted

    def ask(self, spec: RunSpec) -> None:
        """Plan this; the answer before stays on the screen until there is another."""
        if spec == self._wanted and self._failed is None:
            return
        self._wanted, self._failed = spec, None
        self.view.say("re-planning ...")
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_WAIT_S, self._step)

    def ask_again(self) -> None:
        """Answer the last question once more: prices, settings, budgets or own runs may have changed."""
        if self._wanted is not None:
            self._reads_again, self._failed = True, None
            self.view.say("re-planning ...")
            self._step()

    def withdraw(self, reason: str) -> None:
        """There is no question now: what is on the screen is of the last run file that could be read."""
        self._wanted, self._why_not = None, reason
        self.view.show_stale(reason)

    def _step(self) -> None:
        """Ask what is next: the question itself, then the whole answer to it."""
        spec, shown = self._wanted, self.shown
        if spec is None or self._asked is not None or spec == self._failed:
            return
        if shown is None or shown.spec != spec or self._reads_again:
            self._start(spec, is_quick=True)
        elif not shown.is_whole:
            self._start(spec, is_quick=False)
        else:
            self.view.show(shown)  # It was said to be of another question meanwhile.

    def _start(self, spec: RunSpec, *, is_quick: bool) -> None:
        top = min(_MOST_ROWS, max(_LEAST_ROWS, self.view.rows_in_use))
        reads_again, self._reads_again = self._reads_again, False
        context, is_first = self._tunefare.context, self.shown is None
        is_headless = self.app.is_headless

        def job() -> Message:
            session = self._open_session()
            is_read = is_first or (reads_again and session.refresh(context))
            shown = session.answer(spec, top=top) if is_quick else session.whole(spec)
            if is_read and not is_headless:
                _set_apart()
            return Answered(shown)

        self._asked = spec
        self._in_thread(job, _ANSWER)

    def _open_session(self) -> PlanSession:
        """In the thread of the first question, one at a time: two would read the market twice."""
        if self._session is None:
            # The planner's libraries cost a third of a cold start: the screen is painted by now. The first answer
            # shown wants the other two.
            from manager.service import memory_bar  # noqa: F401
            from manager.service.replanning import PlanSession
            from tui.screens.plan import offer_rows  # noqa: F401

            self._session = PlanSession(self._tunefare.context, tell=self._tell)
        return self._session

    def _tell(self, text: str) -> None:
        """From a thread."""
        self.post_message(Told(text))

    def _in_thread(self, job: Callable[[], Message], group: str) -> None:
        self._tunefare.threads.start(self, job, group=group)

    @property
    def _tunefare(self) -> TunefareApp:
        return cast("TunefareApp", self.app)

    @on(Told)
    def _told(self, message: Told) -> None:
        message.stop()
        if self._asked is not None:
            self.view.say(message.text)

    @on(Answered)
    def _answered(self, message: Answered) -> None:
        message.stop()
        self._asked = None
        shown = message.shown
        if shown.spec == self._wanted:
            # A quick answer without an offer is no answer yet: the whole one says why.
            if shown.offers or shown.is_whole:
                self.view.show(shown)
                self.post_message(self.Replanned(shown))
                self._step()
            else:
                self._start(shown.spec, is_quick=False)
        else:
            self._step()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        message.stop()
        if message.group != _ANSWER:
            self.view.say("")
            self._tunefare.fail(message.error)
            return
        asked, self._asked = self._asked, None
        if asked != self._wanted:
            self._step()
            return
        self._failed = asked
        self.view.show_error(message.error)

    def action_why(self) -> None:
        """Tell of the offer under the cursor why it is where it is."""
        estimate, shown, session = self.view.highlighted, self.shown, self._session
        if estimate is None or shown is None or session is None:
            self.notify("No offer is highlighted.")
            return
        choice = shown.choice
        self._in_thread(lambda: WhyFound(session.explain(shown.spec, estimate, choice=choice)), _WHY)

    @on(RowTable.Chosen)
    def _chosen(self, message: RowTable.Chosen) -> None:
        message.stop()
        self.action_why()

    @on(WhyFound)
    def _why_found(self, message: WhyFound) -> None:
        message.stop()
        from tui.screens.plan.why_screen import WhyScreen  # Loaded when it is first asked for.

        self.app.push_screen(WhyScreen(message.why))

    def action_compare(self) -> None:
        """Show the marked offers side by side; of one alone, beside the choice."""
        compared, shown, session = self._compared(), self.shown, self._session
        if len(compared) < 2 or shown is None or session is None:
            self.notify("Mark two offers or more with Space to compare them.")
            return
        if all(one.lines for one in compared):
            self._show_compared(compared)
            return
        spec = shown.spec

        def look() -> Message:
            # What is not wanted was not estimated.
            found = (one if one.lines else session.find(spec, one.offer.key) for one in compared)
            return OffersFound(tuple(found))

        self._in_thread(look, _COMPARE)

    @on(OffersFound)
    def _offers_found(self, message: OffersFound) -> None:
        message.stop()
        self._show_compared(message.estimates)

    def _show_compared(self, estimates: Sequence[Estimate]) -> None:
        from tui.screens.plan.compare_screen import CompareScreen

        self.app.push_screen(CompareScreen(estimates))

    def _compared(self) -> list[Estimate]:
        marked = list(self.view.marked)
        if len(marked) > 1:
            return marked
        shown, other = self.shown, marked[0] if marked else self.view.highlighted
        choice = None if shown is None else shown.choice
        if choice is None or other is None or other.offer.key == choice.offer.key:
            return marked
        return [choice, other]

    def action_rejected(self) -> None:
        """Show what was rejected, or the offers again."""
        self.view.toggle("rejected")

    def action_frontier(self) -> None:
        """Show the frontier as a list, or the offers again."""
        self.view.toggle("frontier")

    def action_notes(self) -> None:
        """Show what the user should know of the plan."""
        shown = self.shown
        if shown is None or not shown.notes:
            self.notify("This plan has no notes.")
            return
        from tui.screens.plan.why_screen import NotesScreen

        self.app.push_screen(NotesScreen(shown.notes))

    def action_fixes(self) -> None:
        """Ask what would make the job fit on the machine under the cursor."""
        estimate, shown, session = self.view.highlighted, self.shown, self._session
        if estimate is None or shown is None or session is None:
            self.notify("No offer is highlighted.")
            return
        if estimate.fits or estimate.memory is None:
            self.notify("The job fits there." if estimate.fits else "Its memory is not estimated.")
            return
        from tui.screens.plan.fixes_screen import FixesScreen

        screen = FixesScreen(session, shown.spec, estimate)
        self.app.push_screen(screen, self._fix_chosen)

    def _fix_chosen(self, changes: tuple[tuple[str, object], ...] | None) -> None:
        if changes:
            self.post_message(self.FixChosen(changes))

    def action_launch(self) -> None:
        """Launch the chosen offer: the whole plan is saved, and the dialog is asked for."""
        spec = self._wanted
        if spec is None:
            self.notify(self._why_not or "There is no run file to launch yet.", markup=False)
            return
        session, shown = self._session, self.shown
        if session is None:
            self.notify("Still planning; try again in a moment.")
            return
        plan = shown.plan if shown is not None and shown.spec == spec else None

        def job() -> Message:
            return self.LaunchAsked(session.to_launch(plan or session.plan(spec)), spec)

        self.view.say("saving the plan ..." if plan is not None else "re-planning ...")
        self._in_thread(job, _LAUNCH)

    @on(LaunchAsked)
    def _launch_asked(self, message: LaunchAsked) -> None:
        if message.asked != self._wanted:
            message.stop()
            self.notify("The run file has changed meanwhile: nothing is launched. Ctrl+L asks anew.")
            return
        self.view.say("")


def _set_apart() -> None:
    """Keep collections of garbage off the market: it is a hundred thousand objects that stay, and looking through them
    would stop every key for a sixth of a second. Not for a test, whose garbage would stay as well."""
    gc.freeze()
