"""Plans that were kept: found, listed, thinned out, compared with a new one."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import SpecError, StateError, UsageError
from manager.planner.plan import Plan
from manager.service import saved_plans as module
from manager.service.context import Context
from manager.service.saved_plans import find_plan, price_moved_note, prune_plans, save_plan, saved_plans
from tests.support.contexts import make_context
from tests.support.diff_stage import CREATED_AT_S, fixed_plan

DAY_S = 86_400.0


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


def plan(plan_id: str, *, dollars: str = "4", days: float = 0, epochs: float = 3.0, machine: str = "L4") -> Plan:
    made = fixed_plan(dollars=dollars, hours=2, epochs=epochs, plan_id=plan_id, machine=machine)
    return replace(made, created_at_s=CREATED_AT_S + days * DAY_S)


def test_found_by_the_beginning_of_the_id(context: Context) -> None:
    for plan_id in ("abc123", "abd456", "ab"):
        save_plan(context, plan(plan_id))
    assert find_plan(context, "abc").plan_id == "abc123"
    assert find_plan(context, "ab").plan_id == "ab"
    assert find_plan(context, "abd456").offers == plan("abd456").offers


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("a", "a begins 2 saved plans: abc123, abd456"),
        ("f", "there is no saved plan f"),
        ("", "there is no saved plan "),
        ("../home", "there is no saved plan"),
        ("*", "there is no saved plan"),
    ],
)
def test_not_found(context: Context, reference: str, message: str) -> None:
    for plan_id in ("abc123", "abd456"):
        save_plan(context, plan(plan_id))
    with pytest.raises(UsageError, match=message.replace("*", r"\*")) as caught:
        find_plan(context, reference)
    assert caught.value.hint


def test_listed_newest_first(context: Context) -> None:
    save_plan(context, plan("old", days=0))
    save_plan(context, plan("new", days=2, dollars="5"))
    save_plan(context, plan("mid", days=1))
    found, damaged = saved_plans(context)
    assert [entry.plan_id for entry in found] == ["new", "mid", "old"]
    assert damaged == ()
    newest = found[0]
    assert (newest.expected_usd, newest.expected_hours) == (Decimal(5), 2.0)
    assert newest.price_usd_per_hour == Decimal("2.5")
    assert newest.machine == "aws/us-east-1/1xL4/L4:1/on-demand"


def test_saved_twice_is_listed_once_with_the_later_time(context: Context) -> None:
    save_plan(context, plan("a", days=0))
    save_plan(context, plan("a", days=3))
    (entry,) = saved_plans(context)[0]
    assert entry.created_at_s == CREATED_AT_S + 3 * DAY_S


def test_without_the_index_the_files_say_the_same(context: Context) -> None:
    save_plan(context, plan("a"))
    before = saved_plans(context)
    (context.home.plans_dir / "index.jsonl").unlink()
    assert saved_plans(context) == before


def test_a_torn_index_and_a_damaged_plan_hide_no_other(context: Context) -> None:
    save_plan(context, plan("a"))
    save_plan(context, plan("b"))
    with (context.home.plans_dir / "index.jsonl").open("a") as index:
        index.write('{"plan_id": "b", "crea')
    (context.home.plans_dir / "c.json").write_text("{")
    found, damaged = saved_plans(context)
    assert {entry.plan_id for entry in found} == {"a", "b"}
    assert damaged == ("c.json",)
    with pytest.raises(SpecError, match=r"c\.json: the plan is no JSON"):
        find_plan(context, "c")


def test_a_plan_without_a_choice_is_listed_without_dollars(context: Context) -> None:
    save_plan(context, fixed_plan(dollars="4", hours=1, max_usd="1", plan_id="none"))
    (entry,) = saved_plans(context)[0]
    assert (entry.machine, entry.expected_usd, entry.price_age_s) == (None, None, None)


def test_the_last_saved_are_kept(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for number in range(5):
        file = save_plan(context, plan(f"p{number}"))
        os.utime(file, (number, number))
    save_plan(context, plan("last"))
    assert {entry.plan_id for entry in saved_plans(context)[0]} == {"p3", "p4", "last"}
    assert (context.home.plans_dir / "index.jsonl").read_text().count("\n") == 3


def test_the_index_does_not_grow_for_ever(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG_INDEX_BYTES", 2000)
    for day in range(20):
        save_plan(context, plan("a", days=day))
        assert (context.home.plans_dir / "index.jsonl").stat().st_size <= 2000
    assert saved_plans(context)[0][0].created_at_s == CREATED_AT_S + 19 * DAY_S


def test_pruned_on_request(context: Context) -> None:
    for number in range(3):
        file = save_plan(context, plan(f"p{number}"))
        os.utime(file, (number, number))
    assert set(prune_plans(context, keep=1)) == {"p0", "p1"}
    assert prune_plans(context, keep=1) == ()
    assert [entry.plan_id for entry in saved_plans(context)[0]] == ["p2"]


def test_a_folder_that_cannot_be_written(context: Context) -> None:
    (context.home.plans_dir / "index.jsonl").mkdir()
    with pytest.raises(StateError, match="cannot be written"):
        save_plan(context, plan("a"))


class TestNote:
    """Of `price_moved_note`."""

    def test_the_price_has_moved(self, context: Context) -> None:
        save_plan(context, plan("first", dollars="4"))
        note = price_moved_note(context, plan("second", dollars="5", days=1))
        assert note == (
            "the price of aws/us-east-1/1xL4/L4:1/on-demand, which plan first chose for the same question, has moved "
            "since: $2.00/h then, $2.50/h now (+25.0 %)"
        )

    def test_the_latest_answer_counts(self, context: Context) -> None:
        save_plan(context, plan("first", dollars="4"))
        save_plan(context, plan("second", dollars="5", days=1))
        assert price_moved_note(context, plan("third", dollars="5", days=2)) is None

    @pytest.mark.parametrize(
        "later",
        [
            plan("other", dollars="5", days=1, epochs=4.0),
            plan("same", dollars="4", days=1),
            plan("elsewhere", dollars="5", days=1, machine="A100"),
        ],
        ids=["another question", "the same price", "the offer is not among those that are listed"],
    )
    def test_nothing_to_say(self, context: Context, later: Plan) -> None:
        save_plan(context, plan("first", dollars="4"))
        assert price_moved_note(context, later) is None

    def test_nothing_before_the_first_plan(self, context: Context) -> None:
        assert price_moved_note(context, plan("first")) is None
