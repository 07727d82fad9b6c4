"""The question whether a run goes on that turned out dearer, over its screen; the ledger carries the answer.

Esc leaves it open: without an answer in time the run's own rule decides, which is told beside the question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from manager.service.failures import error_text
from manager.service.live_requote import LiveRequote
from manager.service.requotes import answer_requote
from tui.actions import bindings
from tui.threads import Failed

if TYPE_CHECKING:
    from tui.app import TunefareApp

_ANSWER = "requote answer"


class Answered(Message):
    """The ledger has the answer."""


class RequoteDialog(ModalScreen[None]):
    """Figures, what follows without an answer, the seconds left."""

    SCOPE: ClassVar[str] = "requote"
    BINDINGS: ClassVar[list[BindingType]] = bindings("requote")
    CSS_PATH = "../styles/stop_dialog.tcss"

    def __init__(self, run_id: str, quote: LiveRequote) -> None:
        super().__init__()
        self.run_id = run_id
        self._quote = quote
        self._is_answered = False

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    def compose(self) -> ComposeResult:
        """Money first."""
        with VerticalScroll(classes="dialog"):
            yield Static(f"{self.run_id} costs more than quoted. Go on?", id="stop-title", markup=False)
            yield Static(self._quote.text, id="stop-text", markup=False)
            yield Static(id="stop-ask", classes="warning", markup=False)
            yield Static("", id="stop-told", markup=False)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Count down."""
        self._count()
        self.set_interval(1.0, self._count)

    def _count(self) -> None:
        until_s = self._quote.open_until_s
        left_s = 0.0 if until_s is None else until_s - self.tunefare.context.clock()
        if left_s <= 0 and not self._is_answered:
            self.dismiss()
            return
        self.query_one("#stop-ask", Static).update(
            f"y: go on; n: end the run, with a checkpoint. {left_s:.0f} s left; {self._quote.question}."
        )

    def action_yes(self) -> None:
        """Go on."""
        self._answer(goes_on=True)

    def action_no(self) -> None:
        """End the run."""
        self._answer(goes_on=False)

    def _answer(self, *, goes_on: bool) -> None:
        if self._is_answered:
            return
        self._is_answered = True
        context, run_id = self.tunefare.context, self.run_id

        def answer() -> Message:
            answer_requote(context, run_id, goes_on=goes_on)
            return Answered()

        self.query_one("#stop-told", Static).update("telling the run ...")
        self.tunefare.threads.start(self, answer, group=_ANSWER)

    @on(Answered)
    def _end(self, message: Answered) -> None:
        message.stop()
        self.dismiss()

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        """Too late, or the ledger is away."""
        message.stop()
        told = self.query_one("#stop-told", Static)
        told.update(error_text(message.error))
        told.set_classes("error")
        self._is_answered = False

    def action_back(self) -> None:
        """Leave it open."""
        self.dismiss()
