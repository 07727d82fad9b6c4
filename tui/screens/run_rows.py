"""What the screen Runs puts into its table: summaries in, text out."""

from __future__ import annotations

from datetime import UTC, datetime

from manager.service.cost_accuracy import in_sentence, metric_value, plain, source_title
from manager.service.nouns import RunState, RunSummary
from manager.service.run_list import metric_order
from manager.service.state_words import needs_attention, state_words
from manager.units import format_hours, format_usd, interval_usd
from tui.widgets.table import Column, Row

COLUMNS = (
    Column(key="cost", title="cost", is_number=True),
    Column(key="state", title="state", widest=38),
    Column(key="run", title="run", widest=34),
    Column(key="ratio", title="of estimate", cut=1, is_number=True),
    Column(key="metric", title="before → after", cut=3, widest=34),
    Column(key="gone", title="machine gone", cut=2),
    Column(key="model", title="model", cut=5, widest=28),
    Column(key="method", title="method", cut=7),
    Column(key="machine", title="machine", cut=4, widest=26),
    Column(key="hours", title="billed", cut=6, is_number=True),
    Column(key="estimate", title="estimate", cut=8, is_number=True),
    Column(key="started", title="started (UTC)", cut=9),
    Column(key="project", title="project", cut=10, widest=16),
)
_SIGNS = {
    RunState.PLANNED: "·",
    RunState.SUCCEEDED: "✓",
    RunState.STOPPED: "■",
    RunState.FAILED: "✗",
    RunState.NO_CAPACITY: "○",
    RunState.INTERRUPTED: "✗",
}
_STYLES = {RunState.FAILED: "warning", RunState.PLANNED: "dim"}


def run_row(run: RunSummary) -> Row:
    """One run; what may still be billed stands on top."""
    return Row(
        key=run.run_id,
        cells=(
            format_usd(run.cost_usd),
            _state(run),
            plain(run.run_id),
            "" if run.cost_ratio is None else f"{run.cost_ratio:.2f}x",
            _metric(run),
            _gone(run),
            source_title(run.model or ""),
            plain(run.method or ""),
            plain(run.machine or ""),
            "" if run.billed_hours is None else format_hours(run.billed_hours),
            interval_usd(run.estimate),
            datetime.fromtimestamp(run.created_at_s, UTC).strftime("%Y-%m-%d %H:%M"),
            plain(run.project or ""),
        ),
        sort=(
            run.cost_usd,
            str(run.state),
            run.run_id,
            run.cost_ratio,
            metric_order(run),
            run.evidence_confirmed,
            run.model,
            run.method,
            run.machine,
            run.billed_hours,
            None if run.estimate is None else run.estimate.expected,
            run.created_at_s,
            run.project,
        ),
        style=_style(run),
        is_first=run.may_bill,
    )


def _state(run: RunSummary) -> str:
    """With its sign; the word BILLING where a machine may be billed."""
    state = state_words(run.state, has_client=run.has_client)
    if not run.may_bill:
        return f"{_SIGNS[run.state]} {state}"
    billing = "BILLING?" if run.state is RunState.UNCONFIRMED else "BILLING"
    return f"{'!' if needs_attention(run.state, has_client=run.has_client) else '▶'} {billing} {state}"


def _style(run: RunSummary) -> str:
    if needs_attention(run.state, has_client=run.has_client):
        return "error"
    return "success" if run.may_bill else _STYLES.get(run.state, "")


def _metric(run: RunSummary) -> str:
    if run.metric is None or (run.metric_before is None and run.metric_after is None):
        return ""
    before, after = (metric_value(run.metric, value, 1) for value in (run.metric_before, run.metric_after))
    return f"{in_sentence(run.metric)} {before} → {after}"


def _gone(run: RunSummary) -> str:
    if run.evidence_confirmed is None:
        return "not asked" if run.may_bill else "-"
    return "confirmed" if run.evidence_confirmed else "NOT confirmed"
