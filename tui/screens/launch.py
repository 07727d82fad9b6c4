"""The launch dialog: the terms, a confirmation, the start of the run in a process of its own.

Owns the question. What is said is `manager.service.launch_terms`', what is started `manager.service.detached`'s; errors
of both are told here, with their hint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from manager.service.detached import start_detached
from manager.service.failures import error_text
from manager.service.launch_terms import LaunchTerms, detail_lines, launch_terms, money_lines
from manager.service.nouns import Plan
from tui.actions import bindings
from tui.threads import Failed

if TYPE_CHECKING:
    from tui.app import TunefareApp

_TERMS, _START = "launch terms", "launch start"


class Ready(Message):
    """What the launch is about."""

    def __init__(self, terms: LaunchTerms) -> None:
        super().__init__()
        self.terms = terms


class Started(Message):
    """The run is in the ledger, and supervised."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class LaunchDialog(ModalScreen[str | None]):
    """Terms, a yes (or the run's name, typed), the start; gives the run's id, or None."""

    SCOPE: ClassVar[str] = "launch"
    BINDINGS: ClassVar[list[BindingType]] = bindings("launch")
    CSS_PATH = "../styles/launch.tcss"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._terms: LaunchTerms | None = None
        self._is_starting = False

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    def compose(self) -> ComposeResult:
        """Money first; what is long can be scrolled."""
        with Vertical(classes="dialog", id="launch"):
            yield Static(f"Launch {self._plan.spec.name}?", id="title", markup=False)
            yield Static("looking what it takes ...", id="money", markup=False)
            with VerticalScroll(id="terms"):
                yield Static(id="details", markup=False)
            yield Static(id="told", markup=False)
            yield Input(id="name", disabled=True)
            with Horizontal(id="buttons"):
                yield Button("Launch (y)", id="yes", disabled=True, compact=True)
                yield Button("Back (Esc)", id="no", compact=True)

    def on_mount(self) -> None:
        """Ask what the launch is about."""
        context, plan = self.tunefare.context, self._plan
        self.query_one("#terms").focus()
        self.tunefare.threads.start(self, lambda: Ready(launch_terms(context, plan)), group=_TERMS)

    @on(Ready)
    def _show(self, message: Ready) -> None:
        self._terms = terms = message.terms
        self.query_one("#money", Static).update("\n".join(money_lines(terms)))
        self.query_one("#details", Static).update("\n".join(detail_lines(terms)))
        if terms.needs_typed_confirmation is None:
            self.query_one("#yes", Button).disabled = False
            self._tell("y launches, Esc goes back")
            return
        line = self.query_one("#name", Input)
        line.placeholder = f"type {terms.needs_typed_confirmation} to launch it; Esc goes back"
        line.disabled = False
        line.add_class("-open")
        line.focus()
        self._tell(
            f"{terms.typed_because}: type the run's name, {terms.needs_typed_confirmation}, then Enter", "warning"
        )

    @on(Input.Changed, "#name")
    def _type(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#yes", Button).disabled = not self._is_confirmed()

    @on(Input.Submitted, "#name")
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_yes()

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            self.action_yes()
        else:
            self.action_back()

    def action_yes(self) -> None:
        """Launch, when all that is asked for is there."""
        terms = self._terms
        if terms is None or self._is_starting:
            return
        if not self._is_confirmed():
            self._tell(f"that is not {terms.needs_typed_confirmation}; nothing was launched", "error")
            return
        self._is_starting = True
        self.query_one("#yes", Button).disabled = True
        self.query_one("#name", Input).disabled = True
        self._tell("starting; a process of its own takes the run over ...")
        context, plan, cap = self.tunefare.context, self._plan, terms.cap_usd
        self.tunefare.threads.start(self, lambda: Started(start_detached(context, plan, cap_usd=cap)), group=_START)

    def action_back(self) -> None:
        """Launch nothing; not while it is being launched."""
        if self._is_starting:
            self._tell("it is being started; its screen comes in a moment", "warning")
            return
        self.dismiss(None)

    @on(Started)
    async def _open(self, message: Started) -> None:
        app = self.tunefare
        self.dismiss(message.run_id)
        await app.open_run(message.run_id)

    @on(Failed)
    def _fail(self, message: Failed) -> None:
        """The error stays here, so that plan and terms are still in sight."""
        message.stop()
        self._is_starting = False
        self._tell(error_text(message.error), "error")
        if message.group == _TERMS:
            self.query_one("#money", Static).update("it cannot be launched")
        elif self._terms is not None and self._terms.needs_typed_confirmation is None:
            self.query_one("#yes", Button).disabled = False
        else:
            self.query_one("#name", Input).disabled = False

    def _is_confirmed(self) -> bool:
        wanted = None if self._terms is None else self._terms.needs_typed_confirmation
        return wanted is None or self.query_one("#name", Input).value.strip() == wanted

    def _tell(self, text: str, kind: str = "") -> None:
        told = self.query_one("#told", Static)
        told.update(text)
        told.set_classes(kind)
