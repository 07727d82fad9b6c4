"""The screen Prices: what machines cost now and have cost, and the update of the catalogs.

Owns the panes and the cancelling of an update. A provider that does not answer has a time limit of its own; whatever
comes of an update, prices that were good before stay in use.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from manager.service.failures import error_text
from manager.service.nouns import PricePoint, RuleCount
from manager.service.price_history import history_of
from manager.service.price_refresh import CANCELLED, FAILED, Refreshed, refresh_prices
from manager.service.price_rows import PriceRow
from manager.service.pricing import PriceQuery, price_audit, price_table
from manager.units import tick_usd
from tui.actions import bindings
from tui.screens.audit_dialog import AuditDialog
from tui.screens.base import BaseScreen
from tui.screens.price_table import (
    PRICES,
    history_lines,
    history_series,
    history_words,
    name_of,
    price_rows,
)
from tui.threads import Failed
from tui.widgets.chart import Chart
from tui.widgets.table import Row, RowTable

_NO_HISTORY = "No history of this price yet: each update (u) adds to it."
_REST_S = 0.1
"""So long the cursor has to stay on a row for its history to be read."""
_READ, _HISTORY, _REFRESH, _AUDIT = "read", "history", "refresh", "audit"


class PricesRead(Message):
    """The table, made in the thread: tens of thousands of rows."""

    def __init__(self, rows: Mapping[str, tuple[Row, PriceRow]], notes: Sequence[str]) -> None:
        super().__init__()
        self.rows, self.notes = rows, tuple(notes)


class HistoryRead(Message):
    """Prices of one machine at earlier updates."""

    def __init__(self, row: PriceRow, found: Mapping[str, Sequence[PricePoint]]) -> None:
        super().__init__()
        self.row, self.found = row, found


class RefreshTold(Message):
    """How far an update is."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


class RefreshDone(Message):
    """What became of each cloud."""

    def __init__(self, lines: Sequence[Refreshed]) -> None:
        super().__init__()
        self.lines = tuple(lines)


class Audited(Message):
    """What the rules found."""

    def __init__(self, counts: Sequence[RuleCount]) -> None:
        super().__init__()
        self.counts = tuple(counts)


class PricesScreen(BaseScreen):
    """All prices in a table; under it the history of one, or the news of an update."""

    SCOPE: ClassVar[str] = "prices"
    BINDINGS = bindings("prices")
    CSS_PATH = "../styles/prices.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._prices: dict[str, PriceRow] = {}
        self._cancel = threading.Event()
        self._history_of: PriceRow | None = None
        """Whose history is asked for or shown; None: nobody's."""
        self._follow: Timer | None = None
        """Until the cursor rests."""

    def compose_body(self) -> ComposeResult:
        """The table, and two panes that are closed at first."""
        yield RowTable(PRICES, empty="no prices", id="prices", marks=False)
        with Horizontal(id="history"):
            yield Chart("History", empty="no history", id="history-chart")
            with VerticalScroll(id="history-lines"):
                yield Static(id="history-words", markup=False)
                yield Static(id="history-table", markup=False)
        with VerticalScroll(id="news"):
            yield Static(id="news-text", markup=False)

    def on_mount(self) -> None:
        """Read the prices."""
        self.query_one("#news").border_title = "Update of prices"
        table = self.query_one("#prices", RowTable)
        table.show([], note="reading ...")
        table.rows.focus()
        self._read()

    def on_unmount(self) -> None:
        """Nobody waits for an update any more."""
        self._cancel.set()

    def _read(self) -> None:
        context = self.context

        def job() -> Message:
            table = price_table(context, PriceQuery())
            return PricesRead(price_rows(table.rows), table.notes)

        self.in_thread(job, group=_READ)

    @on(PricesRead)
    def _show(self, message: PricesRead) -> None:
        self._prices = {key: prices for key, (_, prices) in message.rows.items()}
        note = message.notes[0] if message.notes else ""
        table = self.query_one("#prices", RowTable)
        table.show([row for row, _ in message.rows.values()], note=note)

    @on(RowTable.Chosen, "#prices")
    def _chosen(self) -> None:
        self.action_history()

    @on(RowTable.Highlighted, "#prices")
    def _highlighted(self) -> None:
        """An open history follows the cursor, once it rests."""
        if self._follow is not None:
            self._follow.stop()
        if self._is_open("#history"):
            self._follow = self.set_timer(_REST_S, self.action_history)

    def action_history(self) -> None:
        """How the price under the cursor has changed."""
        key = self.query_one("#prices", RowTable).cursor_key
        row = None if key is None else self._prices.get(key)
        if row is None:
            return
        self._history_of = row
        context = self.context
        keys = [one for one in (row.on_demand_key, row.spot_key) if one is not None]
        self.in_thread(lambda: HistoryRead(row, history_of(context, keys)), group=_HISTORY)

    @on(HistoryRead)
    def _show_history(self, message: HistoryRead) -> None:
        if message.row is not self._history_of:
            return  # Closed meanwhile.
        found = message.found
        self.query_one("#history").border_title = Content(f"{name_of(message.row)} · Esc closes")
        chart = self.query_one("#history-chart", Chart)
        chart.show(
            history_series(found, self.context.clock()),
            title="$/h over days before now",
            x_label="",
            y_label="",
            words=history_words(found),
            x_format=lambda days: f"{days:,.4g} d",
            y_format=tick_usd,
        )
        self.query_one("#history-words", Static).update(history_words(found))
        self.query_one("#history-table", Static).update(history_lines(found) if found else _NO_HISTORY)
        self._open("#history")

    def action_refresh(self) -> None:
        """Start an update, or cancel the one that runs."""
        if self.is_busy(_REFRESH):
            self._cancel.set()
            self._news("cancelling; what is done stays ...")
            return
        self._cancel = cancel = threading.Event()
        context = self.context
        self._open("#news")
        self._news("updating ... · u cancels")

        def tell(words: str) -> None:
            self.post_message(RefreshTold(words))

        def job() -> Message:
            return RefreshDone(refresh_prices(context, tell=tell, is_cancelled=cancel.is_set))

        self.in_thread(job, group=_REFRESH)

    @on(RefreshTold)
    def _told(self, message: RefreshTold) -> None:
        if not self._cancel.is_set():
            self._news(f"{message.words} · u cancels")

    @on(RefreshDone)
    def _refreshed(self, message: RefreshDone) -> None:
        lines = [f"{line.cloud:<10} {line.state:<10} {line.detail}" for line in message.lines]
        good = sum(line.state not in {FAILED, CANCELLED} for line in message.lines)
        head = f"{good} of {len(message.lines)} catalogs are of now"
        if any(line.state == CANCELLED for line in message.lines):
            head = f"cancelled: {head}"
        if not good:
            head += "; the prices of before stay in use"
        own = self.context.config.catalogs
        notes = [] if own is None else [f"Setting catalogs names {own}, which plans read and no update touches."]
        self._news("\n".join([f"{head} · Esc closes", *notes, *lines]))
        if good:
            self._read()

    def action_audit(self) -> None:
        """What the rules of prices found."""
        context = self.context
        self.in_thread(lambda: Audited(price_audit(context)[0]), group=_AUDIT)

    @on(Audited)
    def _audited(self, message: Audited) -> None:
        self.app.push_screen(AuditDialog(message.counts))

    def action_back(self) -> None:
        """Close the pane under the table."""
        self._history_of = None
        if self._follow is not None:
            self._follow.stop()
        for pane in ("#history", "#news"):
            self.query_one(pane).remove_class("-open")
        self.query_one("#prices", RowTable).rows.focus()

    def on_failed(self, message: Failed) -> None:
        """An update or a history says it in its own pane; without prices the screen has nothing to show."""
        if message.group not in {_REFRESH, _HISTORY}:
            if message.group == _READ and not self._prices:
                self.query_one("#prices", RowTable).show([])
            super().on_failed(message)
            return
        stays = "\nThe prices of before stay in use." if message.group == _REFRESH else ""
        self._open("#news")
        self._news(f"{error_text(message.error)}{stays}", is_error=True)

    def _is_open(self, pane: str) -> bool:
        return self.query_one(pane).has_class("-open")

    def _open(self, pane: str) -> None:
        """One pane at a time."""
        for one in ("#history", "#news"):
            self.query_one(one).set_class(one == pane, "-open")

    def _news(self, words: str, *, is_error: bool = False) -> None:
        text = self.query_one("#news-text", Static)
        text.update(words)
        text.set_class(is_error, "error")
