"""What must hold for every price and every value: lines add up, more value and cheaper runs never speak against."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from manager.planner.tuning import ASKED, FROZEN, LORA, SMALLER, Tuning
from manager.planner.worth import Worth, worth_of
from manager.planner.worth_question import Quantity, Question
from manager.planner.worth_rules import Verdict, recommend
from manager.units import MoneyInterval, usd
from tests.support.worth_factory import question, tuning

AMOUNTS = st.decimals("0", "100000", places=2)
PAYING = (Verdict.TUNE, Verdict.SMALLER, Verdict.FROZEN)


@st.composite
def ordered(draw: st.DrawFn, amounts: st.SearchStrategy[Decimal]) -> list[Decimal]:
    """Low, expected and high."""
    return sorted(draw(amounts) for _ in range(3))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Questions with nothing missing, whose gain is no loss."""
    gains = draw(ordered(st.decimals("0", "19", places=2)))
    runs = draw(ordered(st.decimals("1", "20", places=1)))
    return question(
        baseline="0.81",
        usd_per_point=draw(AMOUNTS),
        gain_points=Quantity(low=gains[0], expected=gains[1], high=gains[2]),
        replaces_usd_per_month=draw(AMOUNTS),
        serving_usd_per_month=draw(AMOUNTS),
        months=draw(st.integers(1, 48)),
        once_usd=draw(st.none() | AMOUNTS),
        again_every_months=draw(st.none() | st.integers(1, 60)),
        runs=Quantity(low=runs[0], expected=runs[1], high=runs[2]),
    )


@st.composite
def tunings(draw: st.DrawFn, kind: str = ASKED) -> Tuning:
    """Tunings with a price; scores of own runs lie above the present one."""
    low, expected, high = draw(ordered(st.decimals("0", "20000", places=6)))
    measured = tuple(draw(st.lists(st.sampled_from([0.81, 0.85, 0.9, 0.99]), max_size=2)))
    price = MoneyInterval(low=low, expected=expected, high=high)
    return replace(tuning(kind, measured=measured), run_usd=price)


OTHERS = st.tuples(*(st.none() | tunings(kind) for kind in (FROZEN, LORA, SMALLER)))


def verdict(asked: Question, own: Tuning, others: tuple[Tuning | None, ...]) -> tuple[Verdict, Worth]:
    """What is recommended, and the job's own arithmetic."""
    worth = worth_of(asked, own)
    rest = [worth_of(asked, other, same_gain=worth.gain) for other in others if other is not None]
    return recommend(asked, worth, rest).verdict, worth


@given(asked=questions(), own=tunings())
def test_lines_add_up_and_each_is_quantity_times_price(asked: Question, own: Tuning) -> None:
    worth = worth_of(asked, own)
    net = worth.net_usd
    assert net is not None
    for end in ("low", "expected", "high"):
        assert sum(getattr(line.total_usd, end) for line in worth.lines) == getattr(net, end)
        for line in worth.lines:
            product = usd(getattr(line.quantity, end) * getattr(line.unit_price_usd, end))
            assert abs(getattr(line.total_usd, end)) == product
    assert net.low <= net.expected <= net.high


@given(asked=questions(), own=tunings(), others=OTHERS, more=AMOUNTS)
def test_more_value_never_speaks_against_tuning(
    asked: Question, own: Tuning, others: tuple[Tuning | None, ...], more: Decimal
) -> None:
    assert asked.usd_per_point is not None
    assert asked.replaces_usd_per_month is not None
    before, _ = verdict(asked, own, others)
    dearer_points = replace(asked, usd_per_point=asked.usd_per_point + more)
    larger_bill = replace(asked, replaces_usd_per_month=asked.replaces_usd_per_month + more)
    for richer in (dearer_points, larger_bill):
        after, _ = verdict(richer, own, others)
        assert before not in PAYING or after in PAYING


@given(asked=questions(), own=tunings(), others=OTHERS, more=AMOUNTS)
def test_a_dearer_run_is_never_better(
    asked: Question, own: Tuning, others: tuple[Tuning | None, ...], more: Decimal
) -> None:
    price = own.run_usd
    assert price is not None
    dearer = replace(
        own, run_usd=MoneyInterval(low=price.low + more, expected=price.expected + more, high=price.high + more)
    )
    before, worth = verdict(asked, own, others)
    after, dear_worth = verdict(asked, dearer, others)
    assert worth.net_usd is not None
    assert dear_worth.net_usd is not None
    assert dear_worth.net_usd.low <= worth.net_usd.low
    assert dear_worth.net_usd.expected <= worth.net_usd.expected
    assert dear_worth.net_usd.high <= worth.net_usd.high
    assert not (before is Verdict.DO_NOT and after is Verdict.TUNE)


@given(asked=questions(), own=tunings())
def test_paid_back_at_the_break_even_price_of_a_run(asked: Question, own: Tuning) -> None:
    worth = worth_of(asked, own)
    most = worth.break_even.most_usd_per_run
    assert most is not None
    if most < 0:
        return
    even = worth_of(asked, replace(own, run_usd=MoneyInterval(low=most, expected=most, high=most))).net_usd
    assert even is not None
    # The price is rounded to a millionth of a dollar, and paid for every run.
    assert abs(even.expected) <= Decimal("0.001")
