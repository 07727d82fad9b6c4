"""What an amount of money buys, against divisions done by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.buys import MOST_EPOCHS, Split, amount_of, split_of, steps_per_epoch, what_offers_buy
from manager.planner.plan import CostLine
from manager.units import Interval, MoneyInterval
from manager.workload.profile import WorkloadProfile
from tests.support.plan_factory import make_data, make_profile, make_spec
from tests.support.report_factory import make_estimate, make_offer

D = Decimal


def line(name: str, expected: str, *, high: str | None = None) -> CostLine:
    """A line of so many dollars."""
    total = MoneyInterval(low=D(0), expected=D(expected), high=D(high or expected))
    return CostLine(
        name=name,
        quantity=Interval(low=1, expected=1, high=1),
        unit="h",
        unit_price_usd=D(1),
        total_usd=total,
        assumption=None,
    )


def profile(*, samples: int = 1000, batch_size: int = 10, epochs: float = 2.0) -> WorkloadProfile:
    """200 steps in two epochs of 100, unless it is asked otherwise."""
    spec = make_spec(batch_size=batch_size, epochs=epochs)
    return make_profile(spec=spec, data=make_data(samples=samples, tokens=50))


BILL = (
    line("boot", "0.30"),
    line("baseline", "0.20"),
    line("training", "4.00", high="8.00"),
    line("evaluation", "0.40"),
    line("checkpoints", "0.10"),
    line("egress", "0.50"),
)


def test_a_bill_is_split_into_what_is_paid_once_and_per_step() -> None:
    # 4.00 + 0.40 + 0.10 over 200 steps; 0.30 + 0.20 + 0.50 once.
    assert split_of(BILL, 200, end="expected") == Split(fixed_usd=D(1), per_step_usd=D("0.0225"))
    assert split_of(BILL, 200, end="high").per_step_usd == D("0.0425")


def test_what_is_charged_by_time_follows_the_hours() -> None:
    # 4.50 of 5.50 dollars of machine time are steps: so are 9/11 of disk and repeated work.
    split = split_of((*BILL, line("disk", "0.55"), line("spot_rework", "0.55")), 200, end="expected")
    assert split.per_step_usd == (D("4.50") + D("1.10") * (D("4.50") / D("5.50"))) / 200
    assert split.fixed_usd == D(1) + D("1.10") * (1 - D("4.50") / D("5.50"))
    assert split.fixed_usd + 200 * split.per_step_usd == D("6.60")


@pytest.mark.parametrize(
    ("usd", "steps"),
    [("0.99", 0), ("1", 0), ("1.0224", 0), ("1.0225", 1), ("5.50", 200), ("100", 4400), ("1000000", 9999)],
)
def test_steps_for_an_amount(usd: str, steps: int) -> None:
    assert Split(fixed_usd=D(1), per_step_usd=D("0.0225")).steps_for(D(usd), most=9999) == steps


def test_a_step_that_costs_nothing_is_bounded_all_the_same() -> None:
    assert Split(fixed_usd=D(1), per_step_usd=D(0)).steps_for(D(2), most=77) == 77


def test_offers_come_in_the_order_of_what_they_give() -> None:
    dear, cheap, slow = (
        replace(make_estimate(make_offer(cloud=cloud)), lines=lines)
        for cloud, lines in (
            ("aws", (line("boot", "60"), line("training", "1"))),
            ("gcp", BILL),
            ("azure", (line("boot", "0.1"), line("training", "9"))),
        )
    )
    found = what_offers_buy([dear, cheap, slow], profile(), D(50))
    # (50 - 1) / 0.0225 and (50 - 0.1) / 0.045; the third is $60 before its first step.
    assert [(one.estimate.offer.cloud, one.steps) for one in found] == [("gcp", 2177), ("azure", 1108)]
    # (50 - 1) / 0.0425.
    assert found[0].steps_surely == 1152


def test_more_money_never_buys_less() -> None:
    estimate = replace(make_estimate(make_offer()), lines=BILL)
    steps = [one.steps for usd in range(2, 200, 7) for one in what_offers_buy([estimate], profile(), D(usd))]
    assert steps == sorted(steps)
    assert len(steps) == 29


def test_a_deadline_bounds_steps_by_their_hours() -> None:
    # Of 0.246 h, training, evaluation and checkpoints take 0.087 over 200 steps; the rest is there once.
    estimate = make_estimate(make_offer())
    assert estimate.hours is not None
    recurring = 0.08 + 0.005 + 0.002
    once = estimate.hours.expected - recurring
    found = what_offers_buy([estimate], profile(), D(1000), deadline_hours=1.0)
    assert found[0].steps == int((1.0 - once) / recurring * 200)
    assert found[0].steps_surely < found[0].steps
    assert what_offers_buy([estimate], profile(), D(1000), deadline_hours=once) == ()


def test_waiting_after_preemptions_grows_with_the_steps() -> None:
    # An hour of steps beside an hour of boot: of the two that grow with time each has one, so 2 h are there once.
    lines = (line("boot", "1"), line("training", "1"), line("waiting", "0"), line("spot_rework", "1"))
    hours = Interval(low=4, expected=4, high=4)
    estimate = replace(make_estimate(make_offer()), lines=lines, hours=hours)
    assert what_offers_buy([estimate], profile(), D(1000), deadline_hours=3.0)[0].steps == 100
    assert what_offers_buy([estimate], profile(), D(1000), deadline_hours=6.0)[0].steps == 400


def test_no_more_epochs_than_a_run_file_takes() -> None:
    estimate = replace(make_estimate(make_offer()), lines=BILL)
    assert what_offers_buy([estimate], profile(), D(10**9))[0].steps == MOST_EPOCHS * 100


def test_steps_in_epochs_and_samples() -> None:
    text = profile()
    assert steps_per_epoch(text) == 100
    amount = amount_of(text, 250)
    assert (amount.epochs, amount.quantity, amount.unit) == (2.5, 2.5 * 1000 * 50, "tokens")
    images = replace(text, data=replace(text.data, kind="images"))
    assert (amount_of(images, 250).quantity, amount_of(images, 250).unit) == (2500, "images")
    audio = replace(text, data=replace(text.data, kind="audio", mean_seconds=7.2))
    # 1,000 recordings of 7.2 s are two hours.
    assert (amount_of(audio, 250).quantity, amount_of(audio, 250).unit) == (5.0, "hours of audio")


def test_packed_sequences_are_an_epoch_of_their_own() -> None:
    text = profile()
    packed = replace(text, step_length=256.0, data=replace(text.data, packed_sequences=200))
    assert steps_per_epoch(packed) == 20
    assert amount_of(packed, 40).quantity == 2 * 1000 * 50
