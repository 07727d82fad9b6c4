"""What `worth` prints: the recommendation first, then its arithmetic, break-even and what else was weighed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.planner.break_even import BreakEven
from manager.planner.tuning import Tuning
from manager.planner.worth import Worth, WorthLine
from manager.planner.worth_question import Quantity, Question
from manager.service.worth import WorthReport
from manager.units import Interval, MoneyInterval, format_hours, format_usd, interval_usd

WORTH_JSON_VERSION = 1
_NARROW = 100
_MOST_PLACES = 9
_NO_DIFFERENCE = Decimal("0.01")
"""Points; tests of a model are never as exact."""


def print_worth(report: WorthReport, console: Console) -> None:
    """Print the whole answer."""
    found = report.recommendation
    console.print(f"[bold]{found.verdict}[/bold]: {escape(found.reason)} (rule {found.rule})")
    if found.tuning is not None:
        console.print(f"  {escape(_tuning_text(found.tuning))}")
    console.print()
    _print_lines(report.asked, console)
    _print_break_even(report, console)
    if report.alternatives:
        _print_alternatives(report, console)
    for note in report.notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")


def worth_to_json(report: WorthReport) -> dict[str, Any]:
    """The published form, schema 1; money in dollars, null where unknown."""
    found, question = report.recommendation, report.question
    return {
        "schema": WORTH_JSON_VERSION,
        "recommendation": {
            "verdict": str(found.verdict),
            "rule": found.rule,
            "reason": found.reason,
            "plan_id": None if found.tuning is None else found.tuning.plan_id,
        },
        "question": {
            "metric": question.metric,
            "months": question.months,
            "baseline": _number(question.baseline),
            "target": _number(question.target),
            "gain_points": _ends(question.gain_points),
            "usd_per_point": _number(question.usd_per_point),
            "replaces_usd_per_month": _number(question.replaces_usd_per_month),
            "serving_usd_per_month": _number(question.serving_usd_per_month),
            "once_usd": _number(question.once_usd),
            "again_every_months": question.again_every_months,
            "runs": _ends(question.runs),
            "runs_basis": question.runs_basis,
            "frozen_trial_share": _number(question.trial_share),
        },
        "asked": _worth_json(report.asked),
        "alternatives": [_worth_json(other) for other in report.alternatives],
        "notes": list(report.notes),
    }


def _tuning_text(tuning: Tuning) -> str:
    parts = [tuning.model, tuning.method, tuning.precision]
    if tuning.parameters is not None:
        parts.append(f"{tuning.parameters / 1e6:,.1f} M parameters")
    if tuning.run_usd is not None and tuning.hours is not None:
        time = format_hours(tuning.hours.expected)
        parts.append(f"{interval_usd(tuning.run_usd)} and {time} a run on {tuning.offer}")
    if tuning.plan_id is not None and tuning.run_usd is not None:
        parts.append(f"plan {tuning.plan_id}")
    return ", ".join(parts)


def _print_lines(worth: Worth, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_footer=True)
    net = worth.net_usd
    table.add_column("line", "net value")
    ends = (None, None, None) if net is None else (net.low, net.expected, net.high)
    for title, end in zip(("worst", "expected", "best"), ends, strict=True):
        table.add_column(title, format_usd(end), justify="right", no_wrap=True)
    table.add_column("quantity x unit price", overflow="fold")
    for line in worth.lines:
        total = line.total_usd
        cells = [line.name, format_usd(total.low), format_usd(total.expected), format_usd(total.high), _product(line)]
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    for line in worth.lines:
        console.print(f"  {escape(line.name)}: {escape(line.basis)}", style="dim")
    console.print()


def _print_break_even(report: WorthReport, console: Console) -> None:
    for text in break_even_texts(report.question, report.asked.break_even):
        console.print(f"break-even: {escape(text)}")
    console.print()


def break_even_texts(question: Question, even: BreakEven) -> list[str]:
    """Where it begins to pay, a sentence each."""
    texts = []
    if even.points is not None:
        text = f"{_count(even.points)} points of {question.metric} have to be gained"
        if even.metric is not None:
            text += f", a score of {_count(even.metric)}{'' if even.metric <= 1 else ', which there is not'}"
        texts.append(text)
    if even.most_usd_per_run is not None:
        most = even.most_usd_per_run
        texts.append(f"a run may cost up to {format_usd(most)}" if most > 0 else "not even runs for nothing would pay")
    if even.most_serving_usd_per_month is not None:
        serving = even.most_serving_usd_per_month
        texts.append(
            f"serving may cost up to {format_usd(serving)} a month"
            if serving > 0
            else "not even free serving would pay"
        )
    if even.months is not None or even.never:
        texts.append(_months_text(question, even))
    return texts


def _months_text(question: Question, even: BreakEven) -> str:
    within = f"within {question.months} months"
    if even.months is None or "expected" in even.never:
        best = "" if even.months is None else f", in the best case after {even.months.low:.1f} months"
        return f"not paid back {within}{best}"
    worst = f"not {within}" if "high" in even.never else f"after {even.months.high:.1f}"
    return f"paid back after {even.months.expected:.1f} months (best case {even.months.low:.1f}, worst {worst})"


def _print_alternatives(report: WorthReport, console: Console) -> None:
    wide = console.width >= _NARROW
    table = Table(box=None, pad_edge=False, title="what else was weighed", title_justify="left")
    table.add_column("net value", justify="right", no_wrap=True)
    table.add_column("$ a run", justify="right", no_wrap=True)
    if wide:
        table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("gain, or why not", overflow="fold")
    for worth in report.alternatives:
        tuning = worth.tuning
        cells = [
            format_usd(worth.net_usd.expected if worth.net_usd else None),
            format_usd(tuning.run_usd.expected if tuning.run_usd else None),
            *([format_hours(tuning.hours.expected if tuning.hours else None)] if wide else []),
            f"{tuning.model}, {tuning.method}, {tuning.precision}",
            tuning.reason or _gain_text(report, worth),
        ]
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    console.print()


def _gain_text(report: WorthReport, worth: Worth) -> str:
    if worth.gain is None or not any(line.unit == "points" for line in worth.lines):
        return "same value as the job as asked"
    if worth.gain.is_measured:
        return worth.gain.basis
    spared = _points_spared(report.question, report.asked, worth)
    if spared is None:
        return "at the same gain"
    if abs(spared) < _NO_DIFFERENCE:
        return "at the same gain; worth as much within 0.01 points"
    less = "less" if spared >= 0 else "more"
    return f"at the same gain; worth as much with {_count(abs(spared))} points {less}"


def _points_spared(question: Question, asked: Worth, other: Worth) -> Decimal | None:
    """Points less than the job as asked with which the alternative is worth as much."""
    if not question.usd_per_point or asked.cost_usd is None or other.cost_usd is None:
        return None
    return (asked.cost_usd.expected - other.cost_usd.expected) / question.usd_per_point


def _product(line: WorthLine) -> str:
    """`3 (18-1) runs x $0.05 ($0.08-$0.03)`."""
    quantity, price = line.quantity, line.unit_price_usd
    counted = _count(quantity.expected)
    if quantity.low != quantity.high:
        counted += f" ({_count(quantity.low)} to {_count(quantity.high)})"
    text = format_usd(price.expected)
    if price.low != price.high:
        text += f" ({format_usd(price.low)} to {format_usd(price.high)})"
    return f"{counted} {line.unit} x {text}"


def _count(value: Decimal) -> str:
    """A number with four significant digits, or all those before the point."""
    places = max(0, 3 - value.adjusted()) if value else 0
    text = f"{value:,.{min(places, _MOST_PLACES)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _worth_json(worth: Worth) -> dict[str, Any]:
    tuning, even = worth.tuning, worth.break_even
    return {
        "kind": tuning.kind,
        "model": tuning.model,
        "method": tuning.method,
        "precision": tuning.precision,
        "parameters": tuning.parameters,
        "plan_id": tuning.plan_id,
        "offer": tuning.offer,
        "run_usd": _ends(tuning.run_usd),
        "hours": _ends(tuning.hours),
        "measured": list(tuning.measured),
        "reason": tuning.reason,
        "gain": None
        if worth.gain is None
        else {
            "points": _ends(worth.gain.points),
            "basis": worth.gain.basis,
            "is_measured": worth.gain.is_measured,
        },
        "lines": [
            {
                "name": line.name,
                "quantity": _ends(line.quantity),
                "unit": line.unit,
                "unit_price_usd": _ends(line.unit_price_usd),
                "total_usd": _ends(line.total_usd),
                "basis": line.basis,
            }
            for line in worth.lines
        ],
        "cost_usd": _ends(worth.cost_usd),
        "net_usd": _ends(worth.net_usd),
        "break_even": {
            "points": _number(even.points),
            "metric": _number(even.metric),
            "months": _ends(even.months),
            "not_within_months": list(even.never),
            "most_usd_per_run": _number(even.most_usd_per_run),
            "most_serving_usd_per_month": _number(even.most_serving_usd_per_month),
        },
        "missing": list(worth.missing),
    }


def _ends(interval: Quantity | MoneyInterval | Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"low": float(interval.low), "expected": float(interval.expected), "high": float(interval.high)}


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
