"""Each rule of the recommendation, in a case where it decides and in one where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from manager.planner.tuning import FROZEN, LORA, SMALLER, Tuning
from manager.planner.worth import worth_of
from manager.planner.worth_question import Question
from manager.planner.worth_rules import Recommendation, Verdict, recommend
from tests.support.worth_factory import question, tuning


def answer(asked: Question, own: Tuning, *others: Tuning) -> Recommendation:
    """The recommendation of a job with alternatives."""
    worth = worth_of(asked, own)
    return recommend(asked, worth, [worth_of(asked, other, same_gain=worth.gain) for other in others])


def points(usd_per_point: str) -> Question:
    """Ten points of that value; runs 1, 2 or 4."""
    return question(baseline="0.80", target="0.90", usd_per_point=usd_per_point)


def test_rule_1_what_is_missing_is_named() -> None:
    found = answer(question(usd_per_point="5", target="0.9"), tuning())
    assert (found.verdict, found.rule, found.tuning) == (Verdict.UNKNOWN, 1, None)
    assert "--baseline" in found.reason


def test_rule_1_a_smaller_model_where_the_job_has_no_offer() -> None:
    small = tuning(SMALLER, usd=("1", "2", "3"))
    found = answer(points("100"), tuning(usd=None), small)
    assert (found.verdict, found.rule, found.tuning) == (Verdict.SMALLER, 1, small)
    assert "does not fit: needs 90 GiB" in found.reason
    # It does not pay either: nothing is recommended.
    assert answer(points("0.01"), tuning(usd=None), small).verdict is Verdict.UNKNOWN


def test_rule_2_a_measured_alternative_that_is_worth_more() -> None:
    small = tuning(SMALLER, usd=("1", "2", "3"), measured=(0.899,))
    # $10 a point: 100 - 20 = 80 as asked, 99 - 4 = 95 measured.
    found = answer(points("10"), tuning(), small)
    assert (found.verdict, found.rule, found.tuning) == (Verdict.SMALLER, 2, small)
    # $1,000 a point: the tenth of a point outweighs the dollars.
    assert answer(points("1000"), tuning(), small).rule == 3
    # Nobody has measured it: the job as asked stays.
    assert answer(points("10"), tuning(), tuning(SMALLER, usd=("1", "2", "3"))).verdict is Verdict.TUNE


def test_rule_2_frozen_features_that_were_enough() -> None:
    found = answer(points("1"), tuning(), tuning(FROZEN, usd=("0.1", "0.2", "0.3"), measured=(0.88,)))
    assert (found.verdict, found.rule) == (Verdict.FROZEN, 2)


def test_rule_3_pays_in_the_worst_case() -> None:
    # Worst: 4 x $20 = $80.
    found = answer(points("8.1"), tuning(), tuning(FROZEN, usd=("0.1", "0.2", "0.3")))
    assert (found.verdict, found.rule) == (Verdict.TUNE, 3)
    assert "$1.00" in found.reason
    assert "if the target is reached" in found.reason
    assert answer(points("8"), tuning()).rule == 5


@pytest.mark.parametrize(("frozen_usd", "rule"), [("2.5", 4), ("2.51", 5)])
def test_rule_4_frozen_features_cost_at_most_a_quarter(frozen_usd: str, rule: int) -> None:
    found = answer(points("5"), tuning(), tuning(FROZEN, usd=("0.1", frozen_usd, "9")))
    assert found.rule == rule
    assert (found.verdict is Verdict.FROZEN) == (rule == 4)
    assert "straddles zero" in found.reason


@pytest.mark.parametrize("measured", ["asked", "frozen"])
def test_rule_4_not_what_was_measured_already(measured: str) -> None:
    own = tuning(measured=(0.90,) if measured == "asked" else ())
    frozen = tuning(FROZEN, usd=("0.1", "0.2", "0.3"), measured=(0.81,) if measured == "frozen" else ())
    assert answer(points("5"), own, frozen).rule == 5


def test_rule_5_expected_to_pay() -> None:
    found = answer(points("5"), tuning())
    assert (found.verdict, found.rule) == (Verdict.TUNE, 5)
    # 50 - 20, and 80 - 50 in the worst case.
    assert "expected to bring $30.00" in found.reason
    assert "$30.00 are lost" in found.reason


def test_rule_6_the_alternative_with_the_least_change() -> None:
    others = (
        tuning(FROZEN, usd=("1", "3", "4")),
        tuning(SMALLER, usd=("1", "2", "3")),
        tuning(LORA, usd=("1", "4", "5")),
    )
    found = answer(points("1"), tuning(), *others)
    assert (found.verdict, found.rule, found.tuning) == (Verdict.TUNE, 6, others[2])
    assert "if it gains as much" in found.reason
    found = answer(points("1"), tuning(), *others[:2])
    assert (found.verdict, found.tuning) == (Verdict.SMALLER, others[1])
    assert answer(points("1"), tuning(), others[0]).verdict is Verdict.FROZEN


@pytest.mark.parametrize(
    ("usd_per_point", "said"),
    [("0.4", "even in the best case"), ("0.5", "even in the best case"), ("1", "straddles zero"), ("2", "straddles")],
)
def test_rule_7_do_not_tune(usd_per_point: str, said: str) -> None:
    found = answer(points(usd_per_point), tuning(), tuning(SMALLER))
    assert (found.verdict, found.rule, found.tuning) == (Verdict.DO_NOT, 7, None)
    assert said in found.reason
    assert "nor would one of 1 alternatives pay" in found.reason


def test_serving_that_is_dearer_than_the_bill_is_no_saving() -> None:
    given: dict[str, Any] = {"replaces_usd_per_month": "100", "serving_usd_per_month": "150"}
    assert answer(question(**given), tuning(usd=("0", "0", "0"))).verdict is Verdict.DO_NOT
