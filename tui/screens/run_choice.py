"""The list of runs on the screen Run, where none is open: what may be billed first."""

from __future__ import annotations

from datetime import datetime

from manager.service.nouns import RunState, RunSummary
from manager.units import format_duration, format_usd
from tui.widgets.table import Column, Row

COLUMNS = (
    Column(key="cost", title="cost", is_number=True),
    Column(key="state", title="state"),
    Column(key="run", title="run"),
    Column(key="age", title="begun", cut=1),
    Column(key="model", title="model", cut=3),
    Column(key="machine", title="machine", cut=2),
)


def choice_row(summary: RunSummary, now_s: float) -> Row:
    """One run as a row."""
    state = str(summary.state).replace("_", " ")
    if summary.state is RunState.UNCONFIRMED:
        state = "UNCONFIRMED"
    elif summary.may_bill and summary.has_client is False:
        state += ", not supervised"
    begun = datetime.fromtimestamp(summary.created_at_s).strftime("%Y-%m-%d %H:%M")
    machine = summary.machine or "-"
    loud = summary.state is RunState.UNCONFIRMED or (summary.may_bill and summary.has_client is False)
    return Row(
        key=summary.run_id,
        cells=(
            format_usd(summary.cost_usd),
            state,
            summary.run_id,
            f"{begun} ({format_duration(max(0.0, now_s - summary.created_at_s))} ago)",
            summary.model,
            machine,
        ),
        sort=(summary.cost_usd, state, summary.run_id, summary.created_at_s, summary.model, machine),
        style="error" if loud else "success" if summary.may_bill else "",
        is_first=summary.may_bill,
    )
