"""What the pane of offers shows of an answer: a line of state, the lists, reasons, the chart and the memory bar.

An answer stays until there is another; what is under way, and errors, are told in words beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import ContentSwitcher, Static

from manager.service.failures import error_text
from manager.units import format_hours, format_usd
from tui.screens.plan.memory_bar import MemoryView
from tui.screens.plan.offer_columns import FRONTIER_COLUMNS, OFFER_COLUMNS, REJECTED_COLUMNS
from tui.screens.plan.pareto import ParetoChart
from tui.widgets.table import RowTable

if TYPE_CHECKING:
    from manager.errors import TunefareError
    from manager.service.nouns import Estimate
    from manager.service.replanning import Shown

OFFERS, REJECTED, FRONTIER = "offers", "rejected", "frontier"
_STALE = "-stale"
_SHORT_CELLS, _MIDDLE_CELLS, _WIDE_CELLS = 16, 30, 100
"""Rows below which only lists are shown, and below which there is no chart; columns from which chart and memory stand
side by side."""


class AnswerView(Vertical):
    """Shows an answer; knows nothing of how it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: Shown | None = None
        self._lists: dict[str, dict[str, Estimate]] = {OFFERS: {}, REJECTED: {}, FRONTIER: {}}
        self._undrawn: set[str] = set()
        """Lists whose rows are not yet those of the answer."""

    def compose(self) -> ComposeResult:
        """State, error, lists, reasons, pictures."""
        yield Static("no run file yet", id="offers-state", markup=False)
        yield Static("", id="offers-told", markup=False)
        with ContentSwitcher(initial=OFFERS, id="offers-lists"):
            yield RowTable(OFFER_COLUMNS, empty="no offer", id=OFFERS)
            yield RowTable(REJECTED_COLUMNS, empty="nothing was rejected", id=REJECTED)
            yield RowTable(FRONTIER_COLUMNS, empty="no frontier", id=FRONTIER)
        yield Static("", id="offers-reasons", markup=False)
        with Horizontal(id="offers-pictures"):
            yield ParetoChart(id="pareto")
            yield MemoryView(id="memory")

    @property
    def current(self) -> str:
        """Which list is shown."""
        return self.query_one(ContentSwitcher).current or OFFERS

    @property
    def table(self) -> RowTable:
        """The list that is shown."""
        return self.query_one(f"#{self.current}", RowTable)

    @property
    def highlighted(self) -> Estimate | None:
        """The offer under the cursor."""
        key = self.table.cursor_key
        return None if key is None else self._lists[self.current].get(key)

    @property
    def marked(self) -> tuple[Estimate, ...]:
        """The marked offers of all lists, each once."""
        found: dict[str, Estimate] = {}
        for name, estimates in self._lists.items():
            for key in self.query_one(f"#{name}", RowTable).marked:
                if key in estimates:
                    found.setdefault(key, estimates[key])
        return tuple(found.values())

    @property
    def rows_in_use(self) -> int:
        """Down to the cursor or the last mark: so many an answer has to have, or they would be lost."""
        table = self.query_one(f"#{OFFERS}", RowTable)
        used = {*table.marked, *([table.cursor_key] if table.cursor_key else [])}
        return max((place for place, key in enumerate(self._lists[OFFERS], start=1) if key in used), default=0)

    def say(self, text: str) -> None:
        """Tell what is under way; nothing: what is shown is summed up."""
        summary = self._summary()
        self.query_one("#offers-state", Static).update(" · ".join(part for part in (text, summary) if part))

    def show(self, shown: Shown) -> None:
        """Show an answer in place of the one before."""
        self.shown = shown
        from tui.screens.plan.offer_rows import keyed, reasons_line  # With the planner: see `OfferPane`.

        plan = shown.plan
        self._lists[OFFERS] = keyed(shown.offers)
        if plan is not None:
            self._lists[REJECTED], self._lists[FRONTIER] = keyed(plan.rejected), keyed(plan.pareto)
            self.query_one("#offers-reasons", Static).update(reasons_line(plan.reasons))
        self._undrawn = {OFFERS} if plan is None else {OFFERS, REJECTED, FRONTIER}
        self._draw_list()
        self._show_refusal(shown)
        self._draw_chart()
        self._draw_memory()
        self.say("" if shown.is_whole else "re-planning ...")

    def show_error(self, error: TunefareError) -> None:
        """Tell an error; what is shown stays, and is said to be of an earlier question."""
        self.show_stale(error_text(error))

    def show_stale(self, why: str) -> None:
        """Tell why there is no answer; what is shown stays, dimmed, and is said to be of an earlier question."""
        self._tell(why)
        self.set_class(self.shown is not None, _STALE)
        self.say("not planned" if self.shown is None else "not planned; below is the answer before")

    def toggle(self, name: str) -> None:
        """Show this list, or the offers again."""
        self.query_one(ContentSwitcher).current = OFFERS if self.current == name else name
        self._draw_list()
        self.table.rows.focus()
        self._draw_memory()

    def on_resize(self, event: Resize) -> None:
        """Pictures come and go with the room."""
        self.set_class(event.size.height < _SHORT_CELLS, "-lists-alone")
        self.set_class(event.size.height < _MIDDLE_CELLS, "-no-chart")
        self.set_class(event.size.width >= _WIDE_CELLS, "-side-by-side")
        self.query_one(MemoryView).set_brief(event.size.height < _MIDDLE_CELLS)

    @on(RowTable.Highlighted)
    def _row_highlighted(self, message: RowTable.Highlighted) -> None:
        if isinstance(message, RowTable.Chosen):
            return  # a kind of Highlighted, which the pane answers
        message.stop()
        if message.table is self.table:
            self._draw_memory()

    @on(RowTable.MarksChanged)
    def _marks_changed(self, message: RowTable.MarksChanged) -> None:
        message.stop()
        self._draw_chart()

    def _draw_list(self) -> None:
        """Draw the list that is shown, where its rows have changed: the others cost time that nobody sees."""
        name, shown = self.current, self.shown
        if name not in self._undrawn or shown is None:
            return
        from tui.screens.plan.offer_rows import (  # as in `show`
            CHOICE,
            frontier_rows,
            offer_rows,
            rejected_rows,
            scale_usd,
        )

        self._undrawn.discard(name)
        estimates, plan = self._lists[name], shown.plan
        if name == OFFERS:
            note = f"range: $0 to {format_usd(scale_usd(shown.offers))} · {CHOICE} chosen" if estimates else ""
            self.table.show(offer_rows(estimates, shown.choice), note=note)
        elif name == FRONTIER:
            self.table.show(frontier_rows(estimates))
        else:
            is_all = plan is None or len(plan.rejected) == (plan.rejected_total or 0)
            self.table.show(rejected_rows(estimates), note="" if is_all else "those nearest to a choice")

    def _show_refusal(self, shown: Shown) -> None:
        refusal = shown.refusal
        if refusal is None:
            self._tell("")
            return
        hint = [f"hint: {refusal.hint}"] if refusal.hint else []
        self._tell("\n".join((f"nothing can be chosen: {refusal.message}", *hint, *shown.remedies)))

    def _tell(self, text: str) -> None:
        told = self.query_one("#offers-told", Static)
        told.update(text)
        told.display = bool(text)

    def _draw_chart(self) -> None:
        shown = self.shown
        if shown is None:
            return
        plan = shown.plan
        pareto = () if plan is None else plan.pareto
        self.query_one(ParetoChart).show_offers(shown.offers, pareto, choice=shown.choice, marked=self.marked)

    def _draw_memory(self) -> None:
        view, estimate = self.query_one(MemoryView), self.highlighted
        if estimate is None:
            view.show_bar(None, reason="memory: no offer is highlighted")
            return
        from manager.service.memory_bar import memory_bar  # With the planner, as in `show`.

        view.show_bar(memory_bar(estimate))

    def _summary(self) -> str:
        """`from $1.06 in 20 min · 214 of 428 offers · fastest 5 min for $5.20`: money first, it is cut last."""
        shown = self.shown
        if shown is None:
            return ""
        parts = []
        plan, choice = shown.plan, shown.choice
        if choice is not None and choice.cost_usd is not None and choice.hours is not None:
            parts.append(f"from {format_usd(choice.cost_usd.expected)} in {format_hours(choice.hours.expected)}")
        if plan is None:
            return "".join(parts)
        total = plan.offers_total or 0
        parts.append(f"{total:,} of {total + (plan.rejected_total or 0):,} offers")
        fastest = plan.pareto[-1] if len(plan.pareto) > 1 else None
        if fastest is not None and fastest.hours is not None and fastest.cost_usd is not None:
            told = format_hours(fastest.hours.expected)
            parts.append(f"fastest {told} for {format_usd(fastest.cost_usd.expected)}")
        if shown.notes:
            parts.append("1 note: n" if len(shown.notes) == 1 else f"{len(shown.notes)} notes: n")
        return " · ".join(parts)
