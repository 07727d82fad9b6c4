"""The screen Runs: every run in one line, what may still be billed on top.

Reads the ledger again while it is shown, and goes on showing what it knows when the ledger cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.events import ScreenResume
from textual.message import Message
from textual.widgets import Static

from manager.errors import TunefareError
from manager.service.failures import error_text
from manager.service.nouns import FINAL, RunSummary
from manager.service.run_list import LedgerMark, billing_text, ledger_mark, run_summaries
from tui.actions import bindings
from tui.screens.base import BaseScreen
from tui.screens.run_compare import RunCompareDialog
from tui.screens.run_rows import COLUMNS, run_row
from tui.threads import Failed
from tui.widgets.table import Row, RowTable

REFRESH_S = 3.0
_PATIENCE_S = 2.0
"""For a lock that another process holds; then the screen says so."""
_LIST = "list"


class Listed(Message):
    """The runs, and their rows drawn in the thread."""

    def __init__(
        self,
        runs: Sequence[RunSummary],
        mark: LedgerMark | None,
        known: Mapping[str, RunSummary],
        drawn: Mapping[str, Row],
    ) -> None:
        super().__init__()
        self.runs = tuple(runs)
        self.rows = [drawn[run.run_id] if run is known.get(run.run_id) else run_row(run) for run in runs]
        self.billing = billing_text(runs)
        self.mark = mark


class RunsScreen(BaseScreen):
    """The list of runs."""

    SCOPE: ClassVar[str] = "runs"
    BINDINGS = bindings("runs")
    CSS_PATH = "../styles/runs.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, RunSummary] = {}
        self._rows: dict[str, Row] = {}
        self._mark: LedgerMark | None = None
        self._was_read_s: float | None = None
        self._is_lost = False

    def compose_body(self) -> ComposeResult:
        """What is billed, what is wrong, the table."""
        yield Static(id="billing", markup=False)
        yield Static(id="trouble", markup=False)
        yield RowTable(COLUMNS, empty="no run yet: plan one (1), then launch it", id="runs")

    def on_mount(self) -> None:
        """Look again from time to time."""
        self.set_interval(REFRESH_S, self._look)

    @on(ScreenResume)
    def _on_resume(self) -> None:
        self.read()
        if self.focused is None:
            self._table.rows.focus()

    def read(self, *, anew: bool = False) -> None:
        """Read the ledger, unless that is under way; `anew`: also the runs that were over when they were read."""
        if self.is_busy(_LIST):
            return
        context, must_exist, drawn = self.context, bool(self._runs), self._rows
        known = {} if anew else self._runs

        def job() -> Message:
            # The mark first: what is written meanwhile is seen at the next look.
            mark = ledger_mark(context)
            runs = run_summaries(context, must_exist=must_exist, patience_s=_PATIENCE_S, known=known)
            return Listed(runs, mark, known, drawn)

        self.in_thread(job, group=_LIST)

    @property
    def _table(self) -> RowTable:
        return self.query_one("#runs", RowTable)

    def _look(self) -> None:
        """Read again what may have changed: a process that supervises can die without a row in the ledger."""
        goes_on = any(run.state not in FINAL for run in self._runs.values())
        if self.is_current and (self._is_lost or goes_on or ledger_mark(self.context) != self._mark):
            self.read()

    @on(Listed)
    def _listed(self, message: Listed) -> None:
        self._is_lost = False
        self._was_read_s = self.context.clock()
        self._mark = message.mark
        self._runs = {run.run_id: run for run in message.runs}
        before, self._rows = self._rows, {row.key: row for row in message.rows}
        if list(before) == list(self._rows) and before:
            for key, row in self._rows.items():
                if row != before[key]:
                    self._table.update_row(row)
        else:
            self._table.show(message.rows)
        self._tell("#billing", None if message.billing is None else f"{message.billing} - press ! to end all")
        self._tell("#trouble", None)

    def on_failed(self, message: Failed) -> None:
        """A ledger that cannot be read is said above what was read last."""
        if message.group != _LIST:
            super().on_failed(message)
            return
        self._is_lost = True
        self._tell("#trouble", self._trouble(message.error))

    def _trouble(self, error: TunefareError) -> str:
        again = f"u tries again; so does this screen, every {REFRESH_S:g} s."
        if self._was_read_s is None:
            return f"{error_text(error)}\n{again}"
        at = datetime.fromtimestamp(self._was_read_s, UTC).strftime("%H:%M:%S UTC")
        return f"{error_text(error)}\n{again} Below: as of {at}."

    def _tell(self, line: str, words: str | None) -> None:
        told = self.query_one(line, Static)
        told.display = words is not None
        told.update(words or "")

    @on(RowTable.Chosen)
    async def _chosen(self, message: RowTable.Chosen) -> None:
        run = self._runs.get(message.key or "")
        if run is None:
            return
        if run.state in FINAL:
            await self.tunefare.open_reports((run.run_id,))
        else:
            await self.tunefare.open_run(run.run_id)

    def action_compare(self) -> None:
        """The marked runs side by side."""
        marked = self._table.marked
        if len(marked) < 2:
            self.notify("Mark two runs or more with Space; v then shows them side by side.")
            return
        self.app.push_screen(RunCompareDialog(marked))

    async def action_reports(self) -> None:
        """Reports of the marked runs, of that under the cursor where none is marked."""
        wanted = self._table.marked or tuple(key for key in (self._table.cursor_key,) if key is not None)
        if wanted:
            await self.tunefare.open_reports(wanted)

    def action_copy(self) -> None:
        """The run's name, through the terminal."""
        key = self._table.cursor_key
        if key is not None:
            self.app.copy_to_clipboard(key)
            self.notify(f"{key} is on the clipboard, where the terminal allows it.", markup=False)

    def action_again(self) -> None:
        """Read all of it now."""
        self.read(anew=True)
