"""Runs side by side: every property of each, a sign where they differ, and which one beats which."""

from __future__ import annotations

from manager.reports.build import build_report
from manager.reports.offer_compare import DIFFERS, ComparedRow
from manager.reports.run_compare import compare_runs
from manager.runs.states import RunState
from tests.support.report_factory import make_run


def by_name(rows: tuple[ComparedRow, ...]) -> dict[str, ComparedRow]:
    found = {row.name: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_the_same_run_twice_differs_in_nothing() -> None:
    report = build_report(make_run(run_id="a"))
    rows = compare_runs([report, report])
    assert [row.name for row in rows if row.differs] == []
    assert {row.sign for row in rows} == {" "}


def test_cheaper_and_better_beats() -> None:
    good = build_report(make_run(run_id="good", price="0.8", final=0.97))
    poor = build_report(make_run(run_id="poor", price="2", final=0.93))
    rows = by_name(compare_runs([poor, good]))
    assert rows["verdict by Accuracy"].cells == ("beaten by good", "no run is cheaper and better")
    assert rows["verdict by Accuracy"].sign == DIFFERS
    assert rows["Accuracy"].cells == ("19.10% → 93.00% (+73.90 points)", "19.10% → 97.00% (+77.90 points)")
    assert rows["price"].cells == ("$2.00/h", "$0.80/h")
    assert rows["where"].sign == " "
    assert rows["cost"].cells[0] == "$0.45; estimate $0.49 ($0.32 to $0.76): \N{MINUS SIGN}8%, inside"
    assert rows["machine afterwards"].cells == ("confirmed gone", "confirmed gone")


def test_what_is_not_over_stands_apart_and_says_what_is_unknown() -> None:
    over = build_report(make_run(run_id="over"))
    running = build_report(make_run(run_id="running", state=RunState.RUNNING, price=None))
    rows = by_name(compare_runs([over, running]))
    assert rows["verdict by Accuracy"].cells[1] == "apart: still billed"
    assert rows["cost"].cells[1].startswith("unknown")
    assert rows["price"].cells[1] == "unknown"
    assert rows["machine afterwards"].cells[1] == "may be billed now"
