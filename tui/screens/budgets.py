"""The screen Budgets: what the months and the projects may cost, and what is left of it.

Owns the line in which a budget is typed. What a budget may be and how it is kept is `manager.service.budgets`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import ScreenResume
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from manager.errors import TunefareError
from manager.service.budgets import (
    BudgetState,
    MonthSpent,
    budget_states,
    known_projects,
    month_history,
    parse_budget,
    parse_new_amount,
    set_budget,
)
from manager.service.failures import error_text
from manager.service.run_list import LedgerMark, ledger_mark
from tui.actions import bindings
from tui.screens.base import BaseScreen
from tui.screens.budget_rows import BUDGETS, MONTHS, budget_key, budget_row, details, month_rows
from tui.threads import Failed
from tui.widgets.money_line import MoneyLine
from tui.widgets.table import RowTable

REFRESH_S = 5.0
_READ, _WRITE = "budgets", "set"
_NEW = "month 200, or a project and dollars: research 50"


class Read(Message):
    """Budgets and months as the ledger has them."""

    def __init__(
        self,
        states: Sequence[BudgetState],
        history: Sequence[MonthSpent],
        projects: Sequence[str],
        mark: LedgerMark | None,
    ) -> None:
        super().__init__()
        self.states, self.history, self.projects, self.mark = tuple(states), tuple(history), tuple(projects), mark


class Written(Message):
    """A budget is set, or taken away."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self.told = told


class BudgetsScreen(BaseScreen):
    """Budgets, who has committed what, and the months before."""

    SCOPE: ClassVar[str] = "budgets"
    BINDINGS = bindings("budgets")
    CSS_PATH = "../styles/budgets.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, BudgetState] = {}
        self._projects: tuple[str, ...] = ()
        self._mark: LedgerMark | None = None
        self._edited: BudgetState | None = None
        self._is_typing = False
        self._removed: str | None = None
        """The budget whose key was pressed once."""

    def compose_body(self) -> ComposeResult:
        """Budgets with the line to type in; months beside, or below where there is no room."""
        with Container(id="panes"):
            with Vertical(id="budgets-pane"):
                yield RowTable(BUDGETS, empty="no budget yet: a adds one", id="budgets", marks=False)
                yield Static(id="details", markup=False)
                yield Static(id="told", markup=False)
                yield Input(id="edit", disabled=True)
            with Vertical(id="months-pane"):
                yield RowTable(MONTHS, empty="no run yet", id="months", marks=False)

    def on_mount(self) -> None:
        """Titles; look again from time to time."""
        self.query_one("#budgets-pane").border_title = "Budgets · Enter changes"
        self.query_one("#months-pane").border_title = "Months, local time"
        self.set_interval(REFRESH_S, self._look)

    @on(ScreenResume)
    def _on_resume(self) -> None:
        self.action_again()
        if self.focused is None:
            self._table.rows.focus()

    def action_again(self) -> None:
        """Read the ledger."""
        context = self.context

        def read() -> Message:
            # The mark first: what is written meanwhile is seen at the next look.
            mark = ledger_mark(context)
            return Read(budget_states(context), month_history(context), known_projects(context), mark)

        self.in_thread(read, group=_READ)

    def action_add(self) -> None:
        """Open the line for another budget."""
        self._open_line(None)

    def action_change(self) -> None:
        """Open the line for the budget under the cursor."""
        state = self._states.get(self._table.cursor_key or "")
        if state is not None:
            self._open_line(state)

    def action_remove(self) -> None:
        """Take the budget under the cursor away, when asked twice."""
        key = self._table.cursor_key
        state = self._states.get(key or "")
        if state is None:
            return
        if self._removed != key:
            self._removed = key
            what = f"{_title(state)} of {_dollars(state.limit.usd)}"
            self._tell(f"Once more takes the {what} away; Esc leaves it. Runs keep their caps.", "warning")
            return
        self._removed = None
        self._write(state.limit.scope, state.limit.name or None, None)

    def action_back(self) -> None:
        """Leave the line, and what was asked."""
        self._removed = None
        self._tell("", "")
        self._close_line()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While an amount is typed nothing else is changed."""
        return not self._is_typing or action not in ("add", "change", "remove", "again")

    @property
    def _table(self) -> RowTable:
        return self.query_one("#budgets", RowTable)

    def _look(self) -> None:
        """Read again what has changed."""
        if self.is_current and not self.is_busy(_READ) and ledger_mark(self.context) != self._mark:
            self.action_again()

    @on(Read)
    def _read(self, message: Read) -> None:
        self._states = {budget_key(state): state for state in message.states}
        self._projects, self._mark = message.projects, message.mark
        self._table.show([budget_row(state) for state in message.states])
        self.query_one("#months", RowTable).show(month_rows(message.history))
        self._explain(self._table.cursor_key)
        if self.query_one("#told").has_class("error") and not self._is_typing:
            self._tell("", "")

    @on(RowTable.Highlighted, "#budgets")
    def _highlighted(self, message: RowTable.Highlighted) -> None:
        if self._removed not in (None, message.key):
            self.action_back()
        self._explain(message.key)

    @on(RowTable.Chosen, "#budgets")
    def _chosen(self) -> None:
        self.action_change()

    @on(Input.Submitted, "#edit")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            if self._edited is None:
                scope, name, usd = parse_budget(event.value)
            else:
                limit = self._edited.limit
                scope, name, usd = limit.scope, limit.name or None, parse_new_amount(event.value, limit)
        except TunefareError as error:
            self._tell(error_text(error), "error")
            return
        self._write(scope, name, usd)

    @on(Written)
    def _written(self, message: Written) -> None:
        self._close_line()
        self._tell(message.told, "success")
        self.action_again()
        self.query_one(MoneyLine).look()

    def on_failed(self, message: Failed) -> None:
        """Said below the table; what was read last and what was typed stay."""
        self._tell(error_text(message.error), "error")

    def _write(self, scope: str, name: str | None, usd: Decimal | None) -> None:
        context = self.context
        self._tell("writing ...", "")

        def write() -> Message:
            set_budget(context, scope, name, usd)
            whose = "of each calendar month" if name is None else f"of project {name}"
            return Written(f"budget {whose}: {'taken away' if usd is None else _dollars(usd)}")

        self.in_thread(write, group=_WRITE)

    def _explain(self, key: str | None) -> None:
        self.query_one("#details", Static).update(details(self._states.get(key or "")))

    def _open_line(self, state: BudgetState | None) -> None:
        self._edited, self._is_typing, self._removed = state, True, None
        line = self.query_one("#edit", Input)
        line.value = "" if state is None else f"{state.limit.usd:f}"
        line.placeholder = _NEW
        line.suggester = None if state is not None else SuggestFromList(["month ", *self._projects])
        line.border_title = "new budget" if state is None else f"{_title(state)}, dollars"
        line.border_subtitle = "Enter writes · Esc leaves it"
        line.disabled = False
        line.add_class("-open")
        line.focus()
        self.add_class("-typing")
        self._tell("", "")
        self.refresh_bindings()

    def _close_line(self) -> None:
        if not self._is_typing:
            return
        self._edited, self._is_typing = None, False
        line = self.query_one("#edit", Input)
        line.remove_class("-open")
        line.disabled = True
        self.remove_class("-typing")
        self._table.rows.focus()
        self.refresh_bindings()

    def _tell(self, text: str, style: str) -> None:
        told = self.query_one("#told", Static)
        told.set_classes(style)
        told.display = bool(text)
        told.update(text)


def _title(state: BudgetState) -> str:
    return "month budget" if state.month is not None else f"budget of project {state.limit.name}"


def _dollars(usd: Decimal) -> str:
    return f"${usd:,.2f}"
