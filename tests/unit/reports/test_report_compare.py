"""Several runs: who is beaten by whom."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.model import Report
from manager.runs.states import RunState
from tests.support.report_factory import make_run


def _report(run_id: str, price: str | None, final: float) -> Report:
    return build_report(make_run(run_id=run_id, price=price, final=final))


def test_the_frontier_is_what_no_run_beats() -> None:
    comparison = compare([_report("dear", "4", 0.96), _report("cheap", "1", 0.95), _report("good", "3", 0.97)])
    assert [row.run_id for row in comparison.rows] == ["cheap", "good", "dear"]
    assert [row.run_id for row in comparison.frontier] == ["cheap", "good"]
    assert comparison.rows[2].dominated_by == "good"


def test_equal_runs_do_not_beat_each_other() -> None:
    comparison = compare([_report("a", "1", 0.95), _report("b", "1", 0.95)])
    assert [row.on_frontier for row in comparison.rows] == [True, True]


def test_runs_without_cost_or_result_take_no_part_and_come_last() -> None:
    running = build_report(make_run(run_id="running", state=RunState.RUNNING))
    comparison = compare([_report("free", None, 0.99), running, _report("a", "1", 0.95)])
    by_id = {row.run_id: row for row in comparison.rows}
    assert comparison.rows[-1].run_id == "free"
    assert by_id["free"].excluded == "no cost"
    assert by_id["running"].excluded == "still billed"
    assert [row.run_id for row in comparison.frontier] == ["a"]


def test_other_data_is_noticed() -> None:
    first, second = _report("a", "1", 0.95), _report("b", "2", 0.96)
    assert second.data is not None
    other = replace(second, data=replace(second.data, sha256="0" * 64))
    assert compare([first, second]).same_data is True
    assert compare([first, other]).same_data is False
    assert compare([first, replace(second, data=None)]).same_data is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(50, 99)), min_size=1, max_size=8))
def test_nobody_on_the_frontier_is_beaten_and_all_others_are(points: list[tuple[int, int]]) -> None:
    reports = [_report(f"run-{i}", str(price), value / 100) for i, (price, value) in enumerate(points)]
    rows = compare(reports).rows
    for row in rows:
        beaten = any(
            (other.cost_usd or 0) <= (row.cost_usd or 0)
            and (other.value or 0) >= (row.value or 0)
            and (other.cost_usd, other.value) != (row.cost_usd, row.value)
            for other in rows
        )
        assert row.on_frontier is not beaten
