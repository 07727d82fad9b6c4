"""The screen Reports: which runs were worth their dollars, and where the dollars of one went.

Owns which runs are shown and by which metric; what may be compared and what beats what is the service's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.events import ScreenResume
from textual.message import Message
from textual.widgets import ContentSwitcher, Static

from manager.service.cost_accuracy import (
    CostAccuracy,
    Report,
    cost_accuracy,
    metric_title,
    metric_value,
    next_metric,
    plain,
)
from manager.service.cost_accuracy import waterfall as waterfall_of
from manager.service.failures import error_text
from manager.service.nouns import FINAL, RunSummary
from manager.service.reporting import build_reports
from manager.service.run_list import run_summaries
from manager.units import tick_usd
from tui.actions import bindings
from tui.screens.base import BaseScreen
from tui.screens.export_dialog import ExportDialog
from tui.screens.report_rows import (
    CHOICE,
    POINTS,
    chart_series,
    chart_words,
    choice_row,
    is_logarithmic,
    point_rows,
    waterfall_words,
)
from tui.threads import Failed
from tui.widgets.chart import Chart
from tui.widgets.table import RowTable
from tui.widgets.waterfall import WaterfallView

_CHOICE, _REPORTS = "choice", "reports"


class Listed(Message):
    """Runs to choose from."""

    def __init__(self, runs: Sequence[RunSummary]) -> None:
        super().__init__()
        self.runs = tuple(runs)


class Built(Message):
    """Reports of the chosen runs."""

    def __init__(self, reports: Sequence[Report]) -> None:
        super().__init__()
        self.reports = tuple(reports)


class ReportsScreen(BaseScreen):
    """A list of ended runs to choose from, then the reports of those chosen."""

    SCOPE: ClassVar[str] = "reports"
    BINDINGS = bindings("reports")
    CSS_PATH = "../styles/reports.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._wanted: tuple[str, ...] = ()
        self._reports: dict[str, Report] = {}
        self._found: CostAccuracy | None = None
        self._metric: str | None = None

    def compose_body(self) -> ComposeResult:
        """Two pages: the choice, and the reports."""
        with ContentSwitcher(initial=_CHOICE, id="pages"):
            with Container(id=_CHOICE):
                yield Static("Space marks runs, Enter shows their reports.", id="choice-hint", markup=False)
                yield RowTable(CHOICE, empty="no run has ended yet: launch one from the screen Plan", id="runs")
            with Container(id=_REPORTS):
                with Horizontal(id="pictures"):
                    yield Chart("Cost against accuracy", empty="no run can be compared", id="chart")
                    with VerticalScroll(id="waterfall-pane"):
                        yield WaterfallView(empty="", id="waterfall")
                yield RowTable(POINTS, empty="no run", id="points", marks=False)
                yield Static(id="reports-told", markup=False)

    def on_mount(self) -> None:
        """Titles."""
        self.query_one("#waterfall-pane").border_title = "Estimate → bill · w"

    @on(ScreenResume)
    def _on_resume(self) -> None:
        """Show what another screen asked for; else look for runs that have ended meanwhile."""
        asked = self.tunefare.report_run_ids
        goes_on = any(report.still_billing for report in self._reports.values())
        if asked and (asked != self._wanted or goes_on):
            self.show_runs(asked)
        elif self._page == _CHOICE:
            self._list()

    def show_runs(self, run_ids: Sequence[str]) -> None:
        """Show the reports of these runs."""
        self._wanted = tuple(run_ids)
        self.tunefare.report_run_ids = self._wanted
        self._tell("reading ...")
        self._show_page(_REPORTS)
        context, wanted = self.context, self._wanted
        self.in_thread(lambda: Built(build_reports(context, wanted)), group="build")

    @property
    def _page(self) -> str:
        return self.query_one("#pages", ContentSwitcher).current or _CHOICE

    def _show_page(self, page: str) -> None:
        self.query_one("#pages", ContentSwitcher).current = page
        table = self.query_one("#runs" if page == _CHOICE else "#points", RowTable)
        table.rows.focus()

    def _list(self) -> None:
        context = self.context
        self.in_thread(
            lambda: Listed([run for run in run_summaries(context) if run.state in FINAL]),
            group="list",
        )

    @on(Listed)
    def _listed(self, message: Listed) -> None:
        self.query_one("#runs", RowTable).show([choice_row(run) for run in message.runs])
        if self._page == _CHOICE and self.focused is None:
            self.query_one("#runs", RowTable).rows.focus()

    @on(RowTable.Chosen, "#runs")
    def _chosen(self, message: RowTable.Chosen) -> None:
        marked = message.table.marked
        if marked or message.key is not None:
            self.show_runs(marked or (message.key or "",))

    @on(Built)
    def _built(self, message: Built) -> None:
        self._reports = {report.run_id: report for report in message.reports}
        self._tell("")
        self._draw()

    def _draw(self) -> None:
        reports = tuple(self._reports.values())
        if not reports:
            return
        found = self._found = cost_accuracy(reports, metric=self._metric)
        title = metric_title(found.metric)
        frontier, apart = len(found.frontier), len(found.apart)
        is_log = is_logarithmic(found)
        self.query_one("#chart", Chart).show(
            chart_series(found),
            title=f"{title} over dollars{' (logarithmic)' if is_log else ''}, runs by their letters",
            x_label="",
            y_label="",
            words=chart_words(found),
            x_format=lambda usd: tick_usd(10**usd, digits=2) if is_log else tick_usd(usd),
            y_format=lambda value: metric_value(found.metric, value, 1),
        )
        note = f"by {title}; {frontier} on the frontier" + (f", {apart} apart" if apart else "")
        self.query_one("#points", RowTable).show(point_rows(found, reports), note=note)
        self._draw_waterfall(self.query_one("#points", RowTable).cursor_key or reports[0].run_id)

    @on(RowTable.Highlighted, "#points")
    def _highlighted(self, message: RowTable.Highlighted) -> None:
        if message.key is not None:
            self._draw_waterfall(message.key)

    @on(RowTable.Chosen, "#points")
    def _opened(self) -> None:
        self.action_waterfall()

    def _draw_waterfall(self, run_id: str) -> None:
        report = self._reports.get(run_id)
        if report is not None and self._found is not None:
            # Content, not text: a run's name is no markup.
            self.query_one("#waterfall-pane").border_title = Content(f"{plain(run_id)}: estimate → bill · w")
            self.query_one("#waterfall", WaterfallView).show(waterfall_of(report), waterfall_words(report, self._found))

    def action_metric(self) -> None:
        """Compare by the next metric."""
        if self._found is not None and self._page == _REPORTS:
            self._metric = next_metric(self._found)
            self._draw()

    def action_waterfall(self) -> None:
        """The waterfall instead of the chart, and back; where both have room, it is given the focus to scroll."""
        if self._page != _REPORTS:
            return
        pane = self.query_one("#waterfall-pane")
        self.query_one("#pictures").toggle_class("-waterfall")
        if self.query_one("#pictures").has_class("-waterfall"):
            pane.focus()
        else:
            self.query_one("#points", RowTable).rows.focus()

    def action_export(self) -> None:
        """Ask how and where to write the reports."""
        if self._reports and self._page == _REPORTS:
            metric = None if self._found is None else self._found.metric
            self.app.push_screen(ExportDialog(tuple(self._reports.values()), metric=metric))

    def action_choose(self) -> None:
        """Back to the list of runs."""
        self._wanted = self.tunefare.report_run_ids = ()
        self._metric = None
        self._show_page(_CHOICE)
        self._list()

    def action_back(self) -> None:
        """From the waterfall to the chart, from the reports to the list."""
        if self.query_one("#pictures").has_class("-waterfall"):
            self.action_waterfall()
        elif self._page == _REPORTS:
            self.action_choose()

    def on_failed(self, message: Failed) -> None:
        """Said where the reports would stand."""
        if self._page == _CHOICE:
            super().on_failed(message)
            return
        self._tell(error_text(message.error), is_error=True)

    def _tell(self, words: str, *, is_error: bool = False) -> None:
        told = self.query_one("#reports-told", Static)
        told.update(words)
        told.display = bool(words)
        told.set_class(is_error, "error")
