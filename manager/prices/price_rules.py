"""The named rules that turn the cells of a price catalog into prices that may be believed.

Each rule has a name that appears in `Offer.flags` and in the audit, and one sentence for people. A rule never invents
a price: what cannot be believed becomes unknown (None), so that it is shown and never chosen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

_RESOLUTION = Decimal("0.00001")
"""Catalogs round to 4, 5 or 6 decimals; at 5 the same price in two zones is equal."""
_ROUNDING_SHARE = Decimal("0.0001")
"""Spot above on-demand by less than this part is the catalog's rounding."""
_DEAREST_USD_PER_HOUR = Decimal(1_000_000)
"""No machine costs this much; such a cell is damaged."""

RULES: dict[str, str] = {
    "unknown_price": "the catalog gives no on-demand price",
    "no_spot_price": "the catalog gives no spot price, so there is no spot offer",
    "zero_price": "a price of 0 is no price",
    "negative_price": "a negative price is no price",
    "unreadable_price": "the price is no number",
    "placeholder_price": "the price stands for `not known` in the catalog",
    "spot_above_on_demand": "spot costs more than on-demand",
    "spot_equals_on_demand": "spot costs the same as on-demand",
    "spot_is_a_tenth": "spot is exactly 10 % of on-demand: the provider's floor, not a market price",
    "duplicate_row": "the same row stands twice in the catalog",
    "instance_type_missing": "the row names no machine; left out",
    "accelerator_missing": "the machine has an accelerator that the catalog does not name; left out",
    "accelerator_count_missing": "the catalog does not say how many accelerators there are; left out",
    "count_corrected": "the number of accelerators is wrong in the catalog; the shipped table's number is used",
    "implausible_accelerator_count": "no machine has this number of accelerators; the price is not used",
    "fractional_accelerator": "a part of one accelerator",
    "arm64": "the machine has an ARM processor",
    "unsupported_architecture": "a 32-bit machine; left out",
    "no_host_price": "the accelerator's price is there, the price of its host is not",
    "no_known_host": "no host is known for this number of accelerators; left out",
    "host_of_accelerator": "a host that is rented with its accelerator only; no offer of its own",
    "host_in_accelerator_price": "the host costs nothing by itself; the accelerator's price holds the whole",
    "unterminated_last_row": "the file ends without a line end; its last row may be cut and is left out",
}
"""Name of the rule -> one sentence."""

MACHINE_RULES = frozenset(
    {"count_corrected", "implausible_accelerator_count", "fractional_accelerator", "arm64", "one_of_several_gpus"}
)
"""Flags that are true of a machine, whatever its price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """How often one rule fired on one cloud."""

    cloud: str
    rule: str
    """A name of `RULES`."""
    count: int


@dataclass(slots=True)
class Audit:
    """Counts how often each rule fired, in rows or in offers, for one cloud."""

    counts: Counter[str] = field(default_factory=Counter)
    """By name of the rule."""
    _prices: dict[str, tuple[Decimal | None, str | None]] = field(default_factory=dict)

    def note(self, rule: str) -> None:
        """Count one more case of a rule of `RULES`."""
        self.counts[rule] += 1

    def price(self, text: str, *, missing: str) -> Decimal | None:
        """The price in a cell in dollars per hour, above 0; None when it cannot be believed, with the rule counted.

        Args:
            text: the cell.
            missing: rule to count when the cell is empty or NaN.
        """
        known = self._prices.get(text)
        if known is None:
            known = self._prices[text] = _read_price(text)
        price, rule = known
        if rule is not None:
            self.counts[missing if rule == "missing" else rule] += 1
        return price


def spot_flags(spot: Decimal, on_demand: Decimal | None) -> tuple[str, ...]:
    """What is remarkable in a spot price beside the on-demand price of the same machine and zone."""
    if on_demand is None:
        return ()
    if abs(spot - on_demand) <= on_demand * _ROUNDING_SHARE:
        return ("spot_equals_on_demand",)
    if spot > on_demand:
        return ("spot_above_on_demand",)
    if spot * 10 == on_demand:
        return ("spot_is_a_tenth",)
    return ()


def count_is_plausible(count: float, instance_type: str) -> bool:
    """Whether a machine can have so many accelerators.

    Up to 8, or 16; parts of one; other numbers only where the name of the machine says so (`10x_RTXA4000_SECURE`).
    """
    if 0 < count <= 8:
        return count < 1 or count.is_integer()
    return count == 16 or (count.is_integer() and instance_type.startswith(f"{int(count)}x"))


def _read_price(text: str) -> tuple[Decimal | None, str | None]:
    stripped = text.strip()
    if not stripped:
        return None, "missing"
    try:
        value = Decimal(stripped)
    except InvalidOperation:
        return None, "unreadable_price"
    if value.is_nan():
        return None, "missing"
    if value < 0:
        return None, "negative_price"
    if value >= _DEAREST_USD_PER_HOUR:
        return None, "unreadable_price"
    rounded = value.quantize(_RESOLUTION)
    return (rounded, None) if rounded > 0 else (None, "zero_price")
