"""The dialogs that end one run, with a checkpoint or at once: what is lost, a confirmation, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.message import Message
from textual.widgets import Footer, Input, Static

from manager.errors import TunefareError
from manager.service.ending import start_stop
from manager.service.panic_report import PanicEntry, PanicUpdate
from manager.service.panic_words import cost_text, verdict_lines
from tui.actions import bindings
from tui.screens.ending_dialog import END, EndingDialog, Told

if TYPE_CHECKING:
    from tui.app import TunefareApp

OnEnd = Callable[[PanicEntry | None], None]
FollowOne = Callable[[Callable[[PanicUpdate], None]], PanicEntry]
BeginOne = Callable[["TunefareApp", str, bool], FollowOne]
"""Has begun when it returns: what it returns only follows."""


def _begin_one(app: TunefareApp, run_id: str, is_now: bool) -> FollowOne:
    ending = start_stop(app.context, run_id, now=is_now)
    return lambda tell: ending.follow(tell)[0]


def ask_stop(node: App[None] | DOMNode, run_id: str, *, on_end: OnEnd | None = None) -> None:
    """Ask whether a run shall save a checkpoint and end; `on_end` gets how it stands, or None where nothing was done.

    Args:
        node: the application, or a screen or widget of it.
        run_id: of the run.
        on_end: called when the dialog is left.
    """
    node.app.push_screen(StopDialog(run_id, is_now=False), on_end)


def ask_end_now(node: App[None] | DOMNode, run_id: str, *, on_end: OnEnd | None = None) -> None:
    """Ask whether a run shall be ended at once, without a checkpoint; the end of its name has to be typed.

    Args:
        node: the application, or a screen or widget of it.
        run_id: of the run.
        on_end: called when the dialog is left.
    """
    node.app.push_screen(StopDialog(run_id, is_now=True), on_end)


def word_of(run_id: str) -> str:
    """What is typed to end a run at once: the last part of its name, which no other run has."""
    return run_id.rpartition("-")[2]


class Ended(Message):
    """The run is gone, or its end is not confirmed."""

    def __init__(self, entry: PanicEntry) -> None:
        super().__init__()
        self.entry = entry


class StopDialog(EndingDialog[PanicEntry | None]):
    """What would happen, a confirmation, progress, result."""

    SCOPE: ClassVar[str] = "stop"
    BINDINGS: ClassVar[list[BindingType]] = bindings("stop")
    CSS_PATH = "../styles/stop_dialog.tcss"

    def __init__(self, run_id: str, *, is_now: bool, begin: BeginOne = _begin_one) -> None:
        """
        Args:
            run_id: of the run.
            is_now: without a checkpoint.
            begin: begins to end it.
        """
        super().__init__()
        self._begin_one = begin
        self.run_id = run_id
        self._is_now = is_now
        self._is_asked = False
        self._entry: PanicEntry | None = None
        self._told: list[str] = []

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type where the end is not confirmed."""
        return self._entry.commands if self._entry else ()

    def compose(self) -> ComposeResult:
        """What would happen, and the line to answer in."""
        with VerticalScroll(classes="dialog"):
            title = f"End {self.run_id} now" if self._is_now else f"Stop {self.run_id}"
            yield Static(title, id="stop-title", markup=False)
            yield Static(_LOST if self._is_now else _KEPT, id="stop-text", markup=False)
            yield Static(self._question(), id="stop-ask", markup=False)
            yield Input(id="stop-word", placeholder=word_of(self.run_id), compact=True)
            yield Static("", id="stop-told", markup=False)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """What destroys nothing needs no word."""
        word = self.query_one("#stop-word")
        word.display = self._is_now
        if self._is_now:
            word.focus()

    def _question(self) -> str:
        what = f"Type {word_of(self.run_id)}, then Enter" if self._is_now else "Enter stops it"
        return f"{what}; Esc goes back and leaves the run alone."

    @on(Input.Submitted, "#stop-word")
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip() == word_of(self.run_id):
            self._begin()
        else:
            self._ask(f"Nothing was done: type {word_of(self.run_id)}, then Enter.", kind="warning")

    def action_confirm(self) -> None:
        """Yes, where no word is wanted."""
        self._begin()

    def _begin(self) -> None:
        self._is_asked = True
        self.query_one("#stop-word").display = False
        self.refresh_bindings()
        try:
            # Not in a thread: whoever leaves in the next moment leaves a process that has begun.
            follow = self._begin_one(self.tunefare, self.run_id, self._is_now)
        except TunefareError as error:
            self.fail(error)
            return
        self._ask(
            "Asked, and done also when tunefare is left: the machine is taken down, its provider asked for proof."
        )
        tell = self.post
        self.tunefare.threads.start(self, lambda: Ended(follow(tell)), group=END)

    @on(Told)
    def _show_told(self, message: Told) -> None:
        self._told.append(message.update.text)
        self._tell("\n".join(self._told))

    @on(Ended)
    def _show_ended(self, message: Ended) -> None:
        entry = self._entry = message.entry
        told = "\n".join(verdict_lines(entry))
        self._tell(f"{cost_text(entry)}  {told}", kind="success" if entry.is_gone else "error")
        self._ask("" if entry.is_gone else "MAY STILL BE BILLED: type these commands.", kind="error")
        self.refresh_bindings()

    def fail(self, error: TunefareError) -> None:
        """Below the question."""
        self.say_error("#stop-told", error)
        self._ask("")

    def action_back(self) -> None:
        """Back; an end that was asked for goes on, in a process of its own."""
        if self.is_ending:
            self.notify(f"{self.run_id} is still being ended, also when tunefare is left.")
        self.dismiss(self._entry)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A run is ended once; commands can be copied once there are some."""
        if action == "confirm":
            return not (self._is_now or self._is_asked)
        return super().check_action(action, parameters)

    def _ask(self, text: str, *, kind: str = "") -> None:
        self.say("#stop-ask", text, kind=kind)

    def _tell(self, text: str, *, kind: str = "") -> None:
        self.say("#stop-told", text, kind=kind)


_KEPT = """The training program saves a checkpoint, results come home, then the machine is taken down.
It is billed until it is gone; the proof is asked for and kept."""
_LOST = """The task is killed without a checkpoint: steps since the last one are lost, and results not at home yet.
Then the machine is taken down; the proof is asked for and kept."""
