"""How the price of an offer has changed at the refreshes on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from manager.errors import UsageError
from manager.prices.history import PriceHistory, PricePoint
from manager.service.context import Context

_MOST_SHOWN = 20
_LISTED = 5
"""Keys in a hint."""


def price_history(context: Context, text: str) -> dict[str, tuple[PricePoint, ...]]:
    """Key -> prices, oldest first, of the offer with this key or of those that have it as a part.

    Args:
        context: surroundings.
        text: `aws/us-east-1/g6.xlarge/L4:1/spot`, or a part of it.

    Raises:
        UsageError: there is no history, or no offer of it has that key, or too many have.
        StateError: the history cannot be read.
    """
    file = context.home.price_history_file
    if not file.exists():
        raise UsageError("there is no history of prices yet", hint="each `tunefare prices --refresh` adds to it")
    with PriceHistory(file) as history:
        keys = history.keys()
        found = [text] if text in keys else [key for key in keys if text.casefold() in key.casefold()]
        if not found:
            some = f", such as {keys[0]}" if keys else ""
            raise UsageError(
                f"no offer in the history has {text!r} in its key",
                hint=f"keys are cloud/region/machine/accelerator:number/market{some}",
            )
        if len(found) > _MOST_SHOWN:
            raise UsageError(
                f"{len(found):,} offers have {text!r} in their key",
                hint=f"say more, such as {', '.join(found[:_LISTED])}",
            )
        return {key: history.points(key) for key in found}


def history_of(context: Context, keys: Iterable[str]) -> dict[str, tuple[PricePoint, ...]]:
    """Key -> prices, oldest first, of exactly these offers; those without a history are left out.

    Raises:
        StateError: the history cannot be read.
    """
    file = context.home.price_history_file
    if not file.exists():
        return {}
    with PriceHistory(file) as history:
        found = {key: history.points(key) for key in keys}
    return {key: points for key, points in found.items() if points}
