"""The named rules that turn the cells of a price catalog into prices that may be believed.

Each rule has a name that appears in `Offer.flags` and in the audit, and one sentence for people. A rule never invents
a price: what cannot be believed becomes unknown (None), so that it is shown and never chosen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from operator import mul

TICKS_PER_USD = 100_000
"""Prices of catalogs are compared as whole numbers of a hundred-thousandth of a dollar: catalogs round to 4, 5 or 6
decimals, and at 5 the same price in two zones is equal."""
_ROUNDING_SHARE = 10_000
"""Spot above on-demand by less than this part of it is the catalog's rounding."""
_DEAREST_TICKS = 1_000_000 * TICKS_PER_USD
"""No machine costs this much; such a cell is damaged."""
_NEARLY_HALF = 0.49
_MISSING = "missing"
_EQUAL, _ABOVE, _TENTH = ("spot_equals_on_demand",), ("spot_above_on_demand",), ("spot_is_a_tenth",)

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
    "several_prices": "the catalog gives several on-demand prices for one machine in one region",
    "local_zone": "a Local Zone, which an account has to enable before it can rent there",
    "every_region": "the catalog lists each machine in each region at one price: where it can be had is not known",
    "region_missing": "the row names no region, so nothing can be rented by it; left out",
    "instance_type_missing": "the row names no machine; left out",
    "accelerator_missing": "the machine has an accelerator that the catalog does not name; left out",
    "accelerator_count_missing": "the catalog does not say how many accelerators there are; left out",
    "count_corrected": "the number of accelerators is wrong in the catalog; the shipped table's number is used",
    "implausible_accelerator_count": "no machine has this number of accelerators; the price is not used",
    "fractional_accelerator": "a part of one accelerator",
    "memory_differs": "the catalog gives the accelerator another memory than our table, which is used",
    "card_by_memory": "one name for several cards: the catalog's memory says which it is",
    "several_cards": "one machine's name for cards of different memory; planned with the smallest",
    "card_not_known": "one name for several cards, and the memory fits none of them; the price is not used",
    "consumer_host": "a private person's machine, not one in a data centre",
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
    {
        "count_corrected",
        "implausible_accelerator_count",
        "fractional_accelerator",
        "card_by_memory",
        "several_cards",
        "card_not_known",
        "consumer_host",
        "arm64",
        "one_of_several_gpus",
    }
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
    believed: dict[str, int] = field(default_factory=dict)
    """Cell -> price in ticks per hour, for cells that `learn` or `ticks` has seen and that are one."""
    _unbelievable: dict[str, str] = field(default_factory=dict)
    """Cell -> rule, for cells that are none; `missing` is named by the caller."""

    def note(self, rule: str, times: int = 1) -> None:
        """Count more cases of a rule of `RULES`."""
        if times:
            self.counts[rule] += times

    def learn(self, cells: Iterable[str]) -> None:
        """Read prices ahead, so that a look into `believed` is enough for each cell that is one."""
        believed = self.believed
        for text in set(cells):
            try:
                ticks = float(text) * TICKS_PER_USD
                whole = round(ticks)
            except (ValueError, OverflowError):
                self._unbelievable[text] = _reason(text)
                continue
            if not -_NEARLY_HALF < ticks - whole < _NEARLY_HALF:
                whole = _round_exactly(text)
            if 0 < whole < _DEAREST_TICKS:
                believed[text] = whole
            else:
                self._unbelievable[text] = _reason(text)

    def ticks(self, text: str, missing: str) -> int | None:
        """The price in a cell in ticks per hour, above 0; None when it cannot be believed, with the rule counted.

        Args:
            text: the cell.
            missing: rule to count when the cell is empty or NaN.
        """
        if text not in self.believed and text not in self._unbelievable:
            self.learn((text,))
        known = self.believed.get(text)
        if known is not None:
            return known
        rule = self._unbelievable[text]
        self.counts[missing if rule == _MISSING else rule] += 1
        return None


dollars: Callable[[int], Decimal] = partial(mul, Decimal(1) / TICKS_PER_USD)
"""A price in ticks as money, exactly; no function of Python's own, because a market calls it for each of its prices."""


def spot_flags(spot: int, on_demand: int | None) -> tuple[str, ...]:
    """What is remarkable in a spot price beside the on-demand price of the same machine and zone, both in ticks."""
    if on_demand is None:
        return ()
    if abs(spot - on_demand) * _ROUNDING_SHARE <= on_demand:
        return _EQUAL
    if spot > on_demand:
        return _ABOVE
    return _TENTH if spot * 10 == on_demand else ()


def count_is_plausible(count: float, instance_type: str) -> bool:
    """Whether a machine can have so many accelerators.

    Up to 8, or 16; parts of one; other numbers only where the name of the machine says so (`10x_RTXA4000_SECURE`).
    """
    if 0 < count <= 8:
        return count < 1 or count.is_integer()
    return count == 16 or (count.is_integer() and instance_type.startswith(f"{int(count)}x"))


def _reason(text: str) -> str:
    """The rule by which a cell is no price."""
    try:
        value = float(text)
    except ValueError:
        return "unreadable_price" if text.strip() else _MISSING
    if math.isnan(value):
        return _MISSING
    if value < 0:
        return "negative_price"
    return "unreadable_price" if value * TICKS_PER_USD > 1 else "zero_price"


def _round_exactly(text: str) -> int:
    """Where a float cannot tell which of two ticks is nearer: half to even, on the digits as written."""
    return int(Decimal(text.strip()).scaleb(5).to_integral_value())
