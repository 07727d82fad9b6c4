"""Questions and tunings for tests of what a tuning is worth."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from manager.planner.tuning import ASKED, Tuning
from manager.planner.worth_question import Quantity, Question
from manager.units import Interval, MoneyInterval


def quantity(low: str, expected: str, high: str) -> Quantity:
    """From text, so that tests write decimals as they mean them."""
    return Quantity(low=Decimal(low), expected=Decimal(expected), high=Decimal(high))


def question(**given: Any) -> Question:
    """A question; text becomes decimals, one to two to four runs, a trial may cost a quarter."""
    usual = {"metric": "accuracy", "runs": quantity("1", "2", "4"), "runs_basis": "test", "trial_share": "0.25"}
    figures: dict[str, Any] = {**usual, **given}
    for name, value in figures.items():
        if isinstance(value, str) and name not in ("metric", "runs_basis"):
            figures[name] = Decimal(value)
    return Question(**figures)


def tuning(
    kind: str = ASKED, *, usd: tuple[str, str, str] | None = ("5", "10", "20"), measured: tuple[float, ...] = ()
) -> Tuning:
    """A tuning whose run costs that much."""
    price = None if usd is None else MoneyInterval(low=Decimal(usd[0]), expected=Decimal(usd[1]), high=Decimal(usd[2]))
    return Tuning(
        kind=kind,
        model=f"{kind}-model",
        method="full",
        precision="bf16",
        parameters=1_000_000,
        run_usd=price,
        hours=None if usd is None else Interval(low=0.5, expected=1.0, high=2.0),
        offer=None if usd is None else "aws/us-east-1/L4",
        plan_id="abc",
        measured=measured,
        reason="does not fit: needs 90 GiB" if usd is None else None,
    )
