"""What would make a job fit on one machine, each change with its dollars; found in a thread, since steps are traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from manager.service.failures import error_text
from manager.units import format_bytes, format_hours, format_usd, signed_usd
from tui.actions import bindings
from tui.threads import Failed
from tui.widgets.table import Column, Row, RowTable

if TYPE_CHECKING:
    from manager.service.memory_bar import MemoryFix
    from manager.service.nouns import Estimate, RunSpec
    from manager.service.replanning import PlanSession
    from tui.app import TunefareApp

Changes = tuple[tuple[str, object], ...]
_FIXES = "fixes"
_FITS = {True: "fits", False: "too large", None: "?"}
_COLUMNS = (
    Column(key="fits", title="then"),
    Column(key="usd", title="$ to finish", is_number=True),
    Column(key="added", title="vs choice", is_number=True),
    Column(key="hours", title="time", cut=2, is_number=True),
    Column(key="needs", title="needs", cut=3, is_number=True),
    Column(key="text", title="change", widest=29),
    Column(key="where", title="where", cut=4, widest=50),
)


class FixesFound(Message):
    """The ladder came."""

    def __init__(self, fixes: tuple[MemoryFix, ...]) -> None:
        super().__init__()
        self.fixes = fixes


class FixTold(Message):
    """A step is being traced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class FixesScreen(ModalScreen[Changes | None]):
    """Gives what the user wants in the run file, or None."""

    SCOPE: ClassVar[str] = "fixes"
    BINDINGS = bindings("fixes")
    CSS_PATH = "../../styles/fixes_screen.tcss"

    def __init__(self, session: PlanSession, spec: RunSpec, estimate: Estimate) -> None:
        """
        Args:
            session: answers.
            spec: the job.
            estimate: of the machine on which it does not fit.
        """
        super().__init__()
        self._session, self._spec, self._estimate = session, spec, estimate
        self.fixes: dict[str, MemoryFix] = {}

    def compose(self) -> ComposeResult:
        """Title, state, table."""
        with Vertical(classes="dialog fixes"):
            name = self._estimate.offer.title
            yield Static(f"What would make it fit on {name}", classes="reading-title", markup=False)
            yield Static(self._estimate.reason or "", markup=False)
            yield Static("looking for what would make it fit ...", id="fixes-state", markup=False)
            yield RowTable(_COLUMNS, empty="nothing yet", marks=False)
            yield Static("", id="fixes-reason", markup=False)
            yield Static("Enter: put it into the run file · Esc: back", classes="dim", markup=False)

    def on_mount(self) -> None:
        """Look for fixes."""
        self.query_one(RowTable).rows.focus()
        app = cast("TunefareApp", self.app)
        session, spec, estimate = self._session, self._spec, self._estimate

        def tell(text: str) -> None:
            self.post_message(FixTold(text))

        def job() -> Message:
            from manager.service.memory_bar import memory_fixes  # Traces steps: loaded when asked for.

            return FixesFound(memory_fixes(app.context, session, spec, estimate, tell=tell))

        app.threads.start(self, job, group=_FIXES)

    @on(FixTold)
    def _told(self, message: FixTold) -> None:
        self.query_one("#fixes-state", Static).update(message.text)

    @on(FixesFound)
    def _found(self, message: FixesFound) -> None:
        self.fixes = {str(number): fix for number, fix in enumerate(message.fixes)}
        rows = [_row(key, fix) for key, fix in self.fixes.items()]
        self.query_one(RowTable).show(rows)
        number = sum(1 for fix in message.fixes if fix.fits)
        told = f"{number} of {len(rows)} changes would" if rows else "no change is known that would"
        self.query_one("#fixes-state", Static).update(f"{told} make it fit")

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        state = self.query_one("#fixes-state", Static)
        state.update(error_text(message.error))
        state.add_class("error")

    @on(RowTable.Highlighted)
    def _highlighted(self, message: RowTable.Highlighted) -> None:
        message.stop()
        fix = self.fixes.get(message.key or "")
        told = "" if fix is None else "\n".join(part for part in (fix.text, fix.offer, fix.reason) if part)
        self.query_one("#fixes-reason", Static).update(told)

    @on(RowTable.Chosen)
    def _chosen(self, message: RowTable.Chosen) -> None:
        message.stop()
        fix = self.fixes.get(message.key or "")
        if fix is None:
            return
        if not fix.changes:
            self.notify("This is another machine, or not done by `tunefare run`: nothing to put into the run file.")
            return
        self.dismiss(fix.changes)

    def action_back(self) -> None:
        """Back to the offers."""
        self.dismiss(None)


def _row(key: str, fix: MemoryFix) -> Row:
    return Row(
        key=key,
        cells=(
            _FITS[fix.fits],
            format_usd(fix.usd) if fix.usd is not None else "?",
            "?" if fix.added_usd is None else signed_usd(fix.added_usd),
            format_hours(fix.hours) if fix.hours is not None else "?",
            "?" if fix.needed_bytes is None else format_bytes(fix.needed_bytes),
            fix.text,
            fix.offer or "",
        ),
        sort=(_FITS[fix.fits], fix.usd, fix.added_usd, fix.hours, fix.needed_bytes, fix.text, fix.offer or ""),
        style="" if fix.fits else "dim",
    )
