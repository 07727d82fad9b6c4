"""What a tuning is worth, against arithmetic done by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from manager.errors import UsageError
from manager.planner.tuning import SMALLER
from manager.planner.worth import Worth, worth_of
from manager.planner.worth_question import checked
from tests.support.worth_factory import quantity, question, tuning

D = Decimal


def totals(worth: Worth) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Contributions by line."""
    return {line.name: (line.total_usd.low, line.total_usd.expected, line.total_usd.high) for line in worth.lines}


def test_points_against_runs() -> None:
    # 9 points x $200 = $1,800; runs: 4 x $20, 2 x $10, 1 x $5.
    worth = worth_of(question(baseline="0.81", target="0.90", usd_per_point="200"), tuning())
    assert totals(worth) == {
        "first tuning": (D(-80), D(-20), D(-5)),
        "points of accuracy": (D(1800), D(1800), D(1800)),
    }
    net = worth.net_usd
    assert net is not None
    assert (net.low, net.expected, net.high) == (D(1720), D(1780), D(1795))
    # $20 / $200 = 0.1 points, so 0.811; $1,800 over 12 months are $150 a month: 5, 20 and 80 dollars in months.
    even = worth.break_even
    assert even.points == D("0.1")
    assert even.metric == D("0.811")
    assert even.most_usd_per_run == D(900)
    assert even.months == quantity("0.0333", "0.1333", "0.5333")
    assert even.never == ()


def test_a_bill_that_is_replaced_with_labels_and_tuned_again() -> None:
    asked = question(
        replaces_usd_per_month="900",
        serving_usd_per_month="150",
        months=12,
        once_usd="2000",
        again_every_months=5,  # months 5 and 10: two more runs
    )
    worth = worth_of(asked, tuning())
    assert totals(worth) == {
        "first tuning": (D(-80), D(-20), D(-5)),
        "tuned again": (D(-40), D(-20), D(-10)),
        "labelling and people": (D(-2000), D(-2000), D(-2000)),
        "present solution": (D(10800), D(10800), D(10800)),
        "serving": (D(-1800), D(-1800), D(-1800)),
    }
    net = worth.net_usd
    assert net is not None
    assert (net.low, net.expected, net.high) == (D(6880), D(6960), D(6985))
    even = worth.break_even
    # $750 a month: 2005, 2020 and 2080 dollars; (9000 - 2000) / 4 runs; 900 - 2040 / 12.
    assert even.months == quantity("2.6733", "2.6933", "2.7733")
    assert even.most_usd_per_run == D(1750)
    assert even.most_serving_usd_per_month == D(730)
    assert even.points is None


def test_a_tuning_on_the_way_to_break_even_is_paid_too() -> None:
    # $100 a month, $250 once and a run of $60 every 2 months, one run each time (first one too).
    asked = question(
        replaces_usd_per_month="100",
        serving_usd_per_month="0",
        months=12,
        once_usd="250",
        again_every_months=2,
        runs=quantity("1", "1", "1"),
    )
    # In months 0-2 310 are due, in 2-4 370: after 3.7 months.
    assert worth_of(asked, tuning(usd=("60", "60", "60"))).break_even.months == quantity("3.7", "3.7", "3.7")
    # Runs as dear as what they save are never paid back, beyond the first ones.
    dear = worth_of(asked, tuning(usd=("60", "220", "220"))).break_even
    assert dear.never == ("expected", "high")
    assert dear.months is not None
    assert dear.months.low == D("3.7")


def test_unknown_serving_is_never_free() -> None:
    worth = worth_of(question(replaces_usd_per_month="900"), tuning())
    assert worth.net_usd is None
    assert ["--serving-usd-per-month" in text for text in worth.missing] == [True]
    # What can be said: 900 - 20 / 12 a month.
    assert worth.break_even.most_serving_usd_per_month == D("898.333333")
    assert worth.break_even.months is None
    assert worth.break_even.most_usd_per_run is None


def test_points_without_scores_have_a_break_even_and_no_net() -> None:
    worth = worth_of(question(usd_per_point="200"), tuning())
    assert worth.net_usd is None
    assert [option for option in ("--baseline", "--target") if any(option in text for text in worth.missing)] == [
        "--baseline",
        "--target",
    ]
    assert worth.break_even.points == D("0.1")
    assert worth.break_even.metric is None


def test_no_offer_is_missing_with_its_reason() -> None:
    worth = worth_of(question(baseline="0.81", target="0.9", usd_per_point="200"), tuning(usd=None))
    assert worth.net_usd is None
    assert worth.missing == ("what a run costs: does not fit: needs 90 GiB",)
    assert worth.cost_usd is None


def test_own_runs_beat_the_target() -> None:
    asked = question(baseline="0.81", target="0.90", usd_per_point="200")
    worth = worth_of(asked, tuning(measured=(0.85, 0.87)))
    gain = worth.gain
    assert gain is not None
    assert gain.is_measured
    assert gain.points == quantity("4", "5", "6")
    assert "2 own runs" in gain.basis
    assert "0.90 was assumed" in gain.basis
    net = worth.net_usd
    assert net is not None
    assert (net.low, net.expected, net.high) == (D(720), D(980), D(1195))


def test_an_alternative_is_compared_at_the_same_gain_unless_it_was_measured() -> None:
    asked = question(baseline="0.81", target="0.90", usd_per_point="200")
    own = worth_of(asked, tuning(measured=(0.88,))).gain
    assert own is not None
    assert own.is_measured
    assumed = worth_of(asked, tuning(SMALLER), same_gain=own).gain
    assert assumed is not None
    assert not assumed.is_measured
    assert assumed.points.expected == D(7)
    measured = worth_of(asked, tuning(SMALLER, measured=(0.83,)), same_gain=own).gain
    assert measured is not None
    assert measured.points.expected == D(2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "what the tuning is worth is not said"),
        ({"usd_per_point": "-1"}, "--usd-per-point -1 is no amount"),
        ({"usd_per_point": "NaN"}, "--usd-per-point NaN is no amount"),
        ({"usd_per_point": "Infinity"}, "is no amount"),
        ({"usd_per_point": "1e15"}, "is no amount"),
        ({"usd_per_point": "1", "target": "1.2"}, "--target 1.2 is no accuracy"),
        ({"usd_per_point": "1", "target": "NaN"}, "--target NaN is no accuracy"),
        ({"usd_per_point": "1", "baseline": "-0.1"}, "--baseline -0.1 is no accuracy"),
        ({"usd_per_point": "1", "baseline": "0.9", "target": "0.81"}, "there is nothing to gain"),
        ({"usd_per_point": "1", "baseline": "0.9", "target": "0.9"}, "there is nothing to gain"),
        ({"usd_per_point": "1", "metric": "bleu"}, "there is no metric 'bleu'"),
        ({"usd_per_point": "1", "months": 0}, "--months 0"),
        ({"usd_per_point": "1", "again_every_months": 0}, "--again-every-months 0"),
        ({"usd_per_point": "1", "runs": quantity("0", "1", "2")}, "--runs 0,1,2"),
        ({"usd_per_point": "1", "runs": quantity("3", "2", "4")}, "--runs 3,2,4"),
        ({"usd_per_point": "1", "gain_points": quantity("5", "2", "9")}, "--gain-points 5,2,9"),
        ({"usd_per_point": "1", "gain_points": quantity("5", "6", "900")}, "is no gain"),
        ({"usd_per_point": "1", "gain_points": quantity("1", "2", "3"), "target": "0.9"}, "said twice"),
        ({"replaces_usd_per_month": "9", "gain_points": quantity("1", "2", "3")}, "without a price of a point"),
        ({"usd_per_point": "1", "serving_usd_per_month": "3"}, "what is paid today, which is not said"),
        ({"replaces_usd_per_month": "-3"}, "--replaces-usd-per-month -3"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        checked(question(**given), task="text-classification")
    assert caught.value.hint


def test_perplexity_has_no_points() -> None:
    with pytest.raises(UsageError, match="perplexity is no share") as caught:
        checked(question(metric="perplexity", usd_per_point="1"), task="causal-lm")
    assert "--metric token_accuracy" in (caught.value.hint or "")
    replaced = question(metric="perplexity", replaces_usd_per_month="10", serving_usd_per_month="1")
    assert checked(replaced, task="causal-lm") == replaced
