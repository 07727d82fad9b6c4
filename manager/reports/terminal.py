"""A report in a terminal: legible at 80 columns, without colour, and with money never cut.

Text from outside enters as `rich.text.Text` through `wording.plain`: neither markup nor escape sequences take effect.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from manager.reports import wording
from manager.reports.compare import Comparison, where
from manager.reports.model import Report
from manager.runs.states import RunState
from manager.units import format_duration, format_hours, format_usd
from tasks.protocol import EvaluationStage

_BARS = "▁▂▃▄▅▆▇█"
_LAST_EVALUATIONS = 8
_CLASSES = 20
_GOOD, _BAD, _DIM = "green", "bold red", "dim"


def render_report(report: Report, *, width: int = 80, color: bool = False) -> str:
    """The report as text of a width in columns; with `color`, ANSI codes are in it."""
    return _to_text(report_renderable(report), width, color)


def render_comparison(comparison: Comparison, *, width: int = 80, color: bool = False) -> str:
    """The comparison of several runs as text of a width in columns."""
    return _to_text(comparison_renderable(comparison), width, color)


def report_renderable(report: Report) -> Group:
    """The report for any rich console, which then decides on colour (NO_COLOR) and width."""
    parts = [
        *_header(report),
        *_alerts(report),
        *_section("Quality on the test set", _scores(report)),
        *_section("Classes", _classes(report)),
        *_section("While it trained", _curves(report)),
        *_section("Estimate against actual", _gauges(report)),
        *_section("What the machine did", _phases(report)),
        *_section("Money", _money(report)),
        *_section("Notes", _notes(report)),
    ]
    return Group(*parts)


def comparison_renderable(comparison: Comparison) -> Group:
    """Several runs by dollars, with those that no other run beats marked."""
    title = f"Cost against {wording.in_sentence(comparison.metric)}"
    table = _table(
        ("Run", "left"), ("Where", "left"), ("Cost", "number"), ("Time", "number"), ("Tuned", "number"), ("", "left")
    )
    costs = wording.usd_column(row.cost_usd for row in comparison.rows)
    for row, cost in zip(comparison.rows, costs, strict=True):
        verdict = "frontier" if row.on_frontier else row.excluded or "beaten"
        table.add_row(
            _outside(row.run_id),
            _outside(row.where),
            cost,
            format_hours(row.hours),
            wording.metric_value(comparison.metric, row.value),
            Text(verdict, style=_GOOD if row.on_frontier else _DIM),
        )
    parts = _section(title, [table, Text("frontier: no other run is both cheaper and better", style=_DIM)])[1:]
    if comparison.same_data is not True:
        text = "not all runs were" if comparison.same_data is False else "it is not known that all runs were"
        parts.append(Padding(Text(f"Careful: {text} tested on the same samples.", style="yellow"), (0, 2)))
    return Group(*parts)


def _to_text(renderable: RenderableType, width: int, color: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        _environ={},
    )
    console.print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _header(report: Report) -> list[RenderableType]:
    style = _GOOD if report.state is RunState.SUCCEEDED else _BAD if report.failure else "yellow"
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1, overflow="fold")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(_outside(report.run_id, "bold"), Text(wording.state_title(report), style=style))
    offer = report.machine.offer
    price = f", {format_usd(offer.price_usd_per_hour)}/h" if offer and offer.price_usd_per_hour is not None else ""
    spec = report.spec
    asked = f"{wording.source_title(spec.model.source)} on {wording.source_title(spec.data.source)}"
    asked += f", {wording.METHOD_TITLES.get(spec.method.kind, spec.method.kind)}"
    return [
        head,
        _outside(asked),
        _outside(f"{where(report)}{price} ({report.machine.engine})", _DIM),
        Text(""),
        Text(wording.summary(report), style="bold"),
    ]


def _alerts(report: Report) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if report.state is RunState.UNCONFIRMED or report.teardown_confirmed is False:
        answer = report.evidence[-1].answer if report.evidence else "no answer"
        lines.append(Text("TEARDOWN NOT CONFIRMED: a machine may still cost money.", style=_BAD))
        lines.append(_outside(f"The provider said: {answer}. Run `tunefare reconcile`."))
    if report.failure is not None:
        lines.append(
            _outside(f"{wording.failure_word(report)} ({report.failure.code}): {report.failure.message}", _BAD)
        )
        if report.failure.hint:
            lines.append(_outside(f"hint: {report.failure.hint}"))
    return [Text(""), *lines] if lines else []


def _section(title: str, body: Iterable[RenderableType]) -> list[RenderableType]:
    rows = list(body)
    return [Text(""), Text(title, style="bold"), *(Padding(row, (0, 0, 0, 2)) for row in rows)] if rows else []


def _scores(report: Report) -> list[RenderableType]:
    if not report.scores:
        return []
    table = _table(("", "left"), ("Untouched", "number"), ("Tuned", "number"), ("Points", "number"))
    for score in report.scores:
        table.add_row(
            wording.metric_title(score.metric),
            wording.metric_value(score.metric, score.baseline),
            wording.metric_value(score.metric, score.tuned),
            wording.points(score.points),
        )
    rows: list[RenderableType] = [table]
    if report.best is not None:
        best = report.best
        value = wording.metric_value(best.metric, best.value)
        rows.append(Text(f"Best weights: step {best.step}, {wording.in_sentence(best.metric)} {value} on validation"))
    return rows


def _classes(report: Report) -> list[RenderableType]:
    if not report.classes:
        return []
    table = _table(("", "left"), ("Precision", "number"), ("Recall", "number"), ("F1", "number"), ("Samples", "number"))
    for row in report.classes[:_CLASSES]:
        table.add_row(
            _outside(row.label),
            wording.percent(row.precision),
            wording.percent(row.recall),
            wording.percent(row.f1),
            wording.UNDEFINED if row.support is None else f"{row.support:,}",
        )
    more = len(report.classes) - _CLASSES
    return [table, Text(f"and {more} more classes", style=_DIM)] if more > 0 else [table]


def _curves(report: Report) -> list[RenderableType]:
    losses = [point.loss for point in report.losses if point.loss is not None]
    rows: list[RenderableType] = []
    if losses:
        rows.append(Text(f"loss {losses[0]:.3f} {_sparkline(losses, 40)} {losses[-1]:.3f}"))
    points = [point for point in report.evaluations if point.stage is EvaluationStage.INTERVAL][-_LAST_EVALUATIONS:]
    if not points:
        return rows
    metric = report.spec.training.metric
    title = wording.metric_title(metric)
    table = _table(("Step", "number"), ("Dollars", "number"), ("Time", "number"), ("Loss", "number"), (title, "number"))
    for point, cost in zip(points, wording.usd_column(point.cost_usd for point in points), strict=True):
        table.add_row(
            str(point.step),
            cost,
            format_duration(point.since_billing_s),
            wording.UNDEFINED if point.loss is None else f"{point.loss:.4f}",
            wording.metric_value(metric, point.metrics.get(metric)),
        )
    sentence = wording.stop_sentence(report)
    return [*rows, table, Text(sentence)] if sentence else [*rows, table]


def _gauges(report: Report) -> list[RenderableType]:
    if all(gauge.expected is None and gauge.actual is None for gauge in report.gauges):
        return []
    table = _table(("", "left"), ("Expected", "number"), ("Interval", "number"), ("Actual", "number"), ("", "left"))
    for gauge in report.gauges:
        table.add_row(
            wording.GAUGE_TITLES[gauge.name],
            wording.in_unit(gauge.expected, gauge.unit),
            wording.interval_text(gauge),
            wording.in_unit(gauge.actual, gauge.unit),
            Text(wording.gauge_verdict(gauge), style="yellow" if gauge.inside is False else ""),
        )
    return [table]


def _phases(report: Report) -> list[RenderableType]:
    if not report.phases:
        return []
    table = _table(("", "left"), ("Took", "number"), ("Planned", "number"), ("Dollars", "number"), ("", "bar"))
    longest = max(phase.duration_s for phase in report.phases)
    costs = wording.usd_column(phase.cost_usd for phase in report.phases)
    for phase, cost in zip(report.phases, costs, strict=True):
        table.add_row(
            wording.PHASE_TITLES.get(phase.name, phase.name),
            format_duration(phase.duration_s),
            wording.UNDEFINED if phase.estimated_s is None else format_duration(phase.estimated_s),
            cost,
            Text("█" * max(1, round(16 * phase.duration_s / longest)), style="cyan"),
        )
    return [table]


def _money(report: Report) -> list[RenderableType]:
    rows = [Text(wording.bill_sentence(report))]
    rows += [Text(told) for told in (wording.beside_sentence(report), wording.waiting_sentence(report)) if told]
    if report.cost_per_point_usd is not None:
        rows.append(Text(f"{format_usd(report.cost_per_point_usd)} for each point of accuracy"))
    if report.cap_usd is not None:
        rows.append(Text(f"Cap: {format_usd(report.cap_usd)}"))
    offer = report.machine.offer
    if offer is not None:
        rows.append(_outside(f"Price from: {offer.price_source}"))
    style = _GOOD if report.teardown_confirmed else _BAD if report.teardown_confirmed is False else ""
    line = Text.assemble("Machine: ", (wording.teardown_text(report), style))
    if report.evidence:
        line.append(wording.plain(f" ({report.evidence[-1].source}: {report.evidence[-1].answer})"))
    return [*rows, line]


def _notes(report: Report) -> list[RenderableType]:
    notes = [notice.message for notice in report.warnings]
    notes += [f"no capacity: {attempt}" for attempt in report.failed_attempts]
    if report.outcome is not None and report.outcome != "completed":
        notes.append(f"{wording.outcome_text(report)}, step {report.steps_done} of {report.steps_planned}")
    return [_outside(f"- {note}") for note in notes]


def _sparkline(values: Sequence[float], columns: int) -> str:
    """The curve in block characters, one column for each stretch's mean."""
    columns = min(columns, len(values))
    edges = [round(i * len(values) / columns) for i in range(columns + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1)) if span else 0] for mean in means)


def _table(*columns: tuple[str, str]) -> Table:
    """Columns of kind left (folds when narrow), bar (is cropped), or number (right, never cut)."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    for title, kind in columns:
        if kind == "number":
            table.add_column(title, justify="right", no_wrap=True)
        else:
            table.add_column(title, overflow="crop" if kind == "bar" else "fold")
    return table


def _outside(text: str, style: str = "") -> Text:
    return Text(wording.plain(text), style=style)
