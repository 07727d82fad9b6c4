"""The list of runs on the screen Run, where none is open: what may be billed first."""

from __future__ import annotations

from datetime import UTC, datetime

from manager.service.cost_accuracy import plain, source_title
from manager.service.nouns import RunSummary
from manager.service.state_words import needs_attention, state_words
from manager.units import format_duration, format_usd
from tui.widgets.table import Column, Row

COLUMNS = (
    Column(key="cost", title="cost", is_number=True),
    Column(key="state", title="state"),
    Column(key="run", title="run"),
    Column(key="age", title="begun (UTC)", cut=1),
    Column(key="model", title="model", cut=3),
    Column(key="machine", title="machine", cut=2),
)


def choice_row(summary: RunSummary, now_s: float) -> Row:
    """One run as a row."""
    state = state_words(summary.state, has_client=summary.has_client)
    begun = datetime.fromtimestamp(summary.created_at_s, UTC).strftime("%Y-%m-%d %H:%M")
    is_loud = needs_attention(summary.state, has_client=summary.has_client)
    return Row(
        key=summary.run_id,
        cells=(
            format_usd(summary.cost_usd),
            state,
            plain(summary.run_id),
            f"{begun} ({format_duration(max(0.0, now_s - summary.created_at_s))} ago)",
            source_title(summary.model or "-"),
            plain(summary.machine or "-"),
        ),
        sort=(summary.cost_usd, state, summary.run_id, summary.created_at_s, summary.model, summary.machine),
        style="error" if is_loud else "success" if summary.may_bill else "",
        is_first=summary.may_bill,
    )
