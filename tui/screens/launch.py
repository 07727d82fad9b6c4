"""The launch dialog: the terms, the checks before a launch, a confirmation, the start in a process of its own.

Owns the question. What is said is `manager.service.launch_terms`', what is checked `manager.service.preflight`'s, what
is started `manager.service.detached`'s; errors of all are told here, with their hint.
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
from manager.service.nouns import Plan, TransferUpdate, Update
from manager.service.preflight import NAMES, Preflight, preflight
from manager.service.transfer_words import transfer_words
from tui.actions import bindings
from tui.threads import Failed
from tui.widgets.check_lines import CheckLines

if TYPE_CHECKING:
    from tui.app import TunefareApp

_TERMS, _CHECKS, _START = "launch terms", "launch checks", "launch start"


class Ready(Message):
    """What the launch is about."""

    def __init__(self, terms: LaunchTerms) -> None:
        super().__init__()
        self.terms = terms


class Checked(Message):
    """A check is through."""

    def __init__(self, found: Preflight) -> None:
        super().__init__()
        self.found = found


class AllChecked(Message):
    """There are no more checks."""


class Started(Message):
    """The run is in the ledger, and supervised."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class Sending(Message):
    """Data are on their way to the run's bucket."""

    def __init__(self, update: TransferUpdate) -> None:
        super().__init__()
        self.update = update


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
        self._skips_checks = False

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    def compose(self) -> ComposeResult:
        """Money first; what is long can be scrolled."""
        with Vertical(classes="dialog", id="launch"):
            yield Static(f"Launch {self._plan.spec.name}?", id="title", markup=False)
            yield Static("looking what it takes ...", id="money", markup=False)
            yield Static("checks    ...", id="checks", markup=False)
            with VerticalScroll(id="terms"):
                yield CheckLines(NAMES)
                yield Static(id="details", markup=False)
            yield Static(id="told", markup=False)
            yield Input(id="name", disabled=True)
            with Horizontal(id="buttons"):
                yield Button("Launch (y)", id="yes", disabled=True, compact=True)
                yield Button("Skip checks (F4)", id="skip", compact=True)
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
        context, plan, cap = self.tunefare.context, self._plan, terms.cap_usd

        def check() -> Message:
            for found in preflight(context, plan, cap_usd=cap, is_launch=True):
                if not self.is_running:
                    break
                self.post_message(Checked(found))
            return AllChecked()

        self.tunefare.threads.start(self, check, group=_CHECKS)
        if terms.needs_typed_confirmation is None:
            self._ready()
            return
        line = self.query_one("#name", Input)
        line.placeholder = f"type {terms.needs_typed_confirmation} to launch it; Esc goes back"
        line.disabled = False
        line.add_class("-open")
        line.focus()
        self._ready()

    @on(Checked)
    def _show_check(self, message: Checked) -> None:
        lines = self.query_one(CheckLines)
        lines.show(message.found)
        if self._skips_checks:
            return
        self._sum_checks(lines.summary)
        if lines.are_through or lines.failed:
            self._ready()

    @on(AllChecked)
    def _checked(self, message: AllChecked) -> None:
        message.stop()

    def _ready(self) -> None:
        """Say what is to be done now."""
        terms = self._terms
        if terms is None or self._is_starting:
            return
        self.query_one("#yes", Button).disabled = not (self._may_launch() and self._is_confirmed())
        if (against := self._against()) is not None:
            failed = bool(self.query_one(CheckLines).failed)
            self._tell(against, "error" if failed else "")
        elif terms.needs_typed_confirmation is None:
            self._tell("y launches, Esc goes back")
        else:
            name = terms.needs_typed_confirmation
            self._tell(f"{terms.typed_because}: type the run's name, {name}, then Enter", "warning")

    def _against(self) -> str | None:
        """Why the checks do not let a launch through; None: they do, or they are left out."""
        lines = self.query_one(CheckLines)
        if self._skips_checks:
            return None
        if lines.failed:
            first = lines.failed[0]
            why = first.text if first.hint is None else f"{first.text}. {first.hint}"
            return f"nothing is launched: {first.name} failed: {why}. F4 leaves the checks out"
        return None if lines.are_through else "checking before anything costs; F4 leaves the checks out"

    def _may_launch(self) -> bool:
        return self._against() is None

    @on(Input.Changed, "#name")
    def _type(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one("#yes", Button).disabled = not (self._may_launch() and self._is_confirmed())

    @on(Input.Submitted, "#name")
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_yes()

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            self.action_yes()
        elif event.button.id == "skip":
            self.action_skip()
        else:
            self.action_back()

    def action_yes(self) -> None:
        """Launch, when all that is asked for is there."""
        terms = self._terms
        if terms is None or self._is_starting:
            return
        if not self._may_launch():
            self._ready()
            return
        if not self._is_confirmed():
            self._tell(f"that is not {terms.needs_typed_confirmation}; nothing was launched", "error")
            return
        self._is_starting = True
        self.query_one("#yes", Button).disabled = True
        self.query_one("#skip", Button).disabled = True
        self.query_one("#name", Input).disabled = True
        self._tell("starting; a process of its own takes the run over ...")
        context, plan, cap = self.tunefare.context, self._plan, terms.cap_usd

        def start() -> Message:
            return Started(start_detached(context, plan, cap_usd=cap, on_update=self._hear))

        self.tunefare.threads.start(self, start, group=_START)

    def _hear(self, update: Update) -> None:
        """From the thread that starts the run."""
        if isinstance(update, TransferUpdate):
            self.post_message(Sending(update))

    @on(Sending)
    def _tell_transfer(self, message: Sending) -> None:
        update = message.update
        if self._is_starting:
            self._tell(f"{update.what} to {update.to}: {transfer_words(update)}")

    def action_skip(self) -> None:
        """Leave the checks out, also one that has failed; the launch still wants its confirmation."""
        if self._terms is None or self._is_starting or self._skips_checks:
            return
        self._skips_checks = True
        self._sum_checks("LEFT OUT, as you chose")
        self.query_one("#skip", Button).disabled = True
        self._ready()

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
            self._sum_checks("none was made")
            return
        if message.group == _CHECKS:
            self._sum_checks("could not be made; F4 leaves them out")
        self.query_one("#name", Input).disabled = self._terms is None or self._terms.needs_typed_confirmation is None
        self.query_one("#skip", Button).disabled = self._skips_checks
        self.query_one("#yes", Button).disabled = not (self._may_launch() and self._is_confirmed())

    def _sum_checks(self, text: str) -> None:
        line = self.query_one("#checks", Static)
        line.update(f"checks    {text}")
        line.set_class(bool(self.query_one(CheckLines).failed), "error")

    def _is_confirmed(self) -> bool:
        wanted = None if self._terms is None else self._terms.needs_typed_confirmation
        return wanted is None or self.query_one("#name", Input).value.strip() == wanted

    def _tell(self, text: str, kind: str = "") -> None:
        told = self.query_one("#told", Static)
        told.update(text)
        told.set_classes(kind)
