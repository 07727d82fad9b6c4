"""The terminal shows money in full at any width and never obeys text from outside."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.reports import wording
from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.html import render_html
from manager.reports.terminal import render_comparison, render_report
from manager.runs.states import RunState
from tests.support.report_factory import make_events, make_run, make_spec


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = render_report(build_report(make_run()), width=width)
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
def test_money_is_never_cut(width: int) -> None:
    text = render_report(build_report(make_run()), width=width)
    for amount in ("$0.18", "$0.8048/h", "= $0.1815", "$0.0577", "$0.1006"):
        assert amount in text


def test_the_least_bill_is_not_shown_as_nothing() -> None:
    report = build_report(make_run(billed_s=0.4, events=()))
    assert wording.bill_sentence(report) == "< 1 s at $0.8048/h = $0.000089"
    assert wording.usd_column([Decimal("0.02"), Decimal("0.000004"), Decimal(0)]) == ["$0.0200", "< $0.0001", "$0.0000"]


def test_without_colour_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in render_report(build_report(make_run()))
    assert "\x1b[" in render_report(build_report(make_run()), color=True)


def test_markup_and_escape_sequences_from_outside_are_text() -> None:
    labels = ("[bold red]boo[/]", "\x1b[2Jclear", "a\rb", "\u202eright", "plain")
    spec = make_spec(model="org/[link=x]model[/link]")
    text = render_report(build_report(make_run(spec=spec, events=make_events(labels=labels))), width=120)
    assert "[bold red]boo[/]" in text
    assert "[link=x]" in text or "link]" in text
    assert not {"\x1b", "\r", "\u202e"} & set(text)


def test_unconfirmed_teardown_is_told_before_any_number() -> None:
    text = render_report(build_report(make_run(state=RunState.UNCONFIRMED)))
    assert 0 < text.index("TEARDOWN NOT CONFIRMED") < text.index("Quality on the test set")


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("quote exceeded: now $0.31", "stopped by the renewed quote"),
        ("stop requested: tunefare stop", "stopped by the user"),
        ("cap reached", "stopped by the cap"),
        ("task ended", "stopped from outside"),
    ],
)
def test_a_task_that_was_stopped_says_by_whom(detail: str, told: str) -> None:
    *events, end = make_events()
    stopped = replace(end, data={**end.data, "outcome": "stopped"})
    run = make_run(state=RunState.STOPPED, events=(*events, stopped))
    history = tuple(
        replace(change, detail=detail) if change.state is RunState.TEARING_DOWN else change
        for change in run.record.history
    )
    report = build_report(replace(run, record=replace(run.record, history=history)))
    assert f"- {told}, step" in render_report(report)
    assert f"of {report.steps_planned}, {told}" in " ".join(render_html([report]).split())


def test_comparison_names_the_frontier_and_doubts_unknown_data() -> None:
    first = build_report(make_run(run_id="a"))
    second = build_report(make_run(run_id="b", price="3", final=0.9))
    text = render_comparison(compare([first, second]))
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert lines["a"].endswith("frontier")
    assert lines["b"].endswith("beaten")
    assert "Careful" not in text
    other = build_report(make_run(run_id="c", events=()))
    assert "Careful" in render_comparison(compare([first, other]))
