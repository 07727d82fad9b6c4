"""The first-run tour: a few sentences over the real screens, ending in a planned run with no account.

Owns the way through the screens. What it says is `tour_steps`', the run file that it opens `manager.service.tour`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from manager.errors import TunefareError
from manager.service.first_start import end_tour
from manager.service.offer_words import machine_words
from manager.service.tour import TourExample, tour_example
from manager.units import format_hours, interval_usd
from tui.actions import ACTIONS, bindings
from tui.screens.plan.form import RunForm
from tui.screens.plan.offers import OfferPane
from tui.screens.tour_steps import STEPS, Step
from tui.threads import Failed

if TYPE_CHECKING:
    from manager.service.replanning import Shown
    from tui.app import TunefareApp

_POINTED = "-pointed"
_EXAMPLE = "example"
_LOOK_S = 0.2
"""How often it is looked whether the plan is there."""
_OWN = "This is your own run file: the tour leaves it as it is."


class ExampleMade(Message):
    """The run file that can be planned is written."""

    def __init__(self, example: TourExample) -> None:
        super().__init__()
        self.example = example


class Tour:
    """Where the tour is."""

    def __init__(self, app: TunefareApp) -> None:
        self.app = app
        self.number = 0
        self.example: str | None = None
        """What the run file in the form is; None: it was not looked at yet."""

    @property
    def step(self) -> Step:
        """The present stop."""
        return STEPS[self.number]

    async def go(self, number: int) -> None:
        """Show another stop, on its screen; past the last one the tour ends."""
        if number >= len(STEPS):
            self.end()
            return
        self.number = max(0, number)
        if getattr(self.app.screen, "SCOPE", None) != self.step.mode:
            await self.app.switch_mode(self.step.mode)
        await self.app.push_screen(TourScreen(self))

    def end(self) -> None:
        """Remember that it was seen."""
        end_tour(self.app.context)


def start_tour(app: TunefareApp) -> None:
    """Begin the tour over whatever is shown."""
    app.call_later(Tour(app).go, 0)


class TourScreen(ModalScreen[None]):
    """A frame at the lower edge; the screen that it speaks of stays in sight."""

    SCOPE: ClassVar[str] = "tour"
    BINDINGS = bindings("tour")
    CSS_PATH = "../styles/tour.tcss"

    def __init__(self, tour: Tour) -> None:
        super().__init__()
        self._tour = tour
        self._is_making = False
        self._made: TourExample | None = None
        """The example, until it is in the form."""

    def compose(self) -> ComposeResult:
        """Sentences and keys."""
        with Vertical(id="tour"):
            yield Static(id="said", markup=False)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Say what is to be said; what it depends on may come later."""
        step = self._tour.step
        self.query_one("#tour").border_title = f"Tour · {self._tour.number + 1} of {len(STEPS)} · {step.title}"
        self._look()
        self.set_interval(_LOOK_S, self._look)

    def on_unmount(self) -> None:
        """Nothing is pointed at any more."""
        for pointed in self._below.query(f".{_POINTED}"):
            pointed.remove_class(_POINTED)

    async def action_next(self) -> None:
        """The next stop."""
        await self._leave(self._tour.number + 1)

    async def action_previous(self) -> None:
        """The stop before."""
        await self._leave(self._tour.number - 1)

    def action_skip(self) -> None:
        """End the tour."""
        self.dismiss()
        self._tour.end()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing before the first stop."""
        return action != "previous" or self._tour.number > 0

    async def _leave(self, number: int) -> None:
        await self.dismiss()
        self._tour.app.call_later(self._tour.go, number)

    @property
    def _below(self) -> Screen[object]:
        """The screen that is spoken of."""
        return self._tour.app.screen_stack[0]

    def _look(self) -> None:
        step = self._tour.step
        if step.needs_example and self._tour.example is None:
            self._open_example()
        if step.target is not None:
            for target in self._below.query(step.target):
                target.add_class(_POINTED)
        self.query_one("#said", Static).update(self._said(step))

    def _open_example(self) -> None:
        """Put the example into the form, unless the user has something there."""
        try:
            form = self._below.query_one(RunForm)
            draft = form.draft
        except (NoMatches, TunefareError):
            return  # The form is still reading its file; it is looked at again.
        if draft.is_changed or draft.file is not None:
            self._tour.example = _OWN
            return
        if self._made is not None:
            self._tour.example = f"Opened for you: {self._made.told}"
            form.show(self._made.draft, told="example of the tour")
        elif not self._is_making:
            self._is_making = True
            context = self._tour.app.context
            self._tour.app.threads.start(self, lambda: ExampleMade(tour_example(context)), group=_EXAMPLE)

    @on(ExampleMade)
    def _example_made(self, message: ExampleMade) -> None:
        self._made = message.example
        self._look()

    @on(Failed)
    def _no_example(self, message: Failed) -> None:
        message.stop()
        self._tour.example = f"There is no example: {message.error.message}."
        self._look()

    def _said(self, step: Step) -> str:
        keys = {row.action: row.keys for row in self._tour.app.own_keys.rows}
        known = {
            "example": self._tour.example or "Reading the run file ...",
            "offer": self._offer(),
            **{action.id: self._displayed(keys[action.id][0]) for action in ACTIONS},
        }
        return re.sub(r"\{([a-z._]+)\}", lambda found: known[found.group(1)], step.text)

    def _displayed(self, key: str) -> str:
        return self.app.get_key_display(Binding(key, ""))

    def _offer(self) -> str:
        try:
            pane = self._below.query_one(OfferPane)
        except NoMatches:
            return "Planning ..."
        return _cheapest(pane.shown, is_done=pane.is_up_to_date)


def _cheapest(shown: Shown | None, *, is_done: bool) -> str:
    if shown is None or (shown.choice is None and not is_done):
        return "Planning ..."
    choice = shown.choice
    if choice is None or choice.cost_usd is None or choice.hours is None:
        why = "" if shown.refusal is None else f": {shown.refusal.message}"
        return f"No offer can be chosen{why}."
    cost, hours = choice.cost_usd, choice.hours
    return (
        f"The cheapest: {machine_words(choice.offer)}, {interval_usd(cost)} expected in {format_hours(hours.expected)}."
    )
