"""Names that a user gives (clouds, regions, accelerators) against those that prices know.

A typing error would otherwise look like a market without machines. Owns the sentence and the nearest name; who may ask
for what is for each verb to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from manager.errors import PriceError, UsageError
from manager.prices.market import Market
from manager.spec.model import CPU, accelerator_wish

CLOUDS_WITHOUT_CATALOG = frozenset({"kubernetes", "oci", "slurm", "vast"})
"""Spelt right although no price of theirs is known here."""
_LISTED = 25
"""Names in a hint."""


def check_places(
    market: Market,
    *,
    clouds: Iterable[str] = (),
    regions: Iterable[str] = (),
    accelerators: Iterable[str] = (),
) -> None:
    """Refuse clouds, regions and accelerators (`L4`, `L4:1`, `cpu`) that no rental has.

    Raises:
        PriceError: prices of a cloud are there and could not be read.
        UsageError: with the nearest known name.
    """
    clouds, regions, rentals = tuple(clouds), tuple(regions), market.rentals
    known = {rental.cloud for rental in rentals}
    for cloud in clouds:
        told = [note for note in market.notes if note.startswith(f"{cloud.lower()} left out:")]
        if cloud.lower() not in known and told:
            raise PriceError(told[0], hint="choose another cloud, or mend the catalog")
    check_names("cloud", clouds, known | CLOUDS_WITHOUT_CATALOG)
    if {cloud.lower() for cloud in clouds} & CLOUDS_WITHOUT_CATALOG:
        return  # their regions and accelerators may be unknown here
    if regions:
        check_names("region", regions, {quote.region for rental in rentals for quote in rental.quotes if quote.region})
    asked = [accelerator_wish(text)[0] for text in accelerators]
    check_names("accelerator", asked, {rental.accelerator or CPU for rental in rentals})


def check_names(what: str, asked: Iterable[str], known: set[str]) -> None:
    """Refuse what is in no spelling among the known names.

    Args:
        what: what the names are, in the singular: `cloud`.
        asked: names as given; upper and lower case are the same.
        known: names as they are written.

    Raises:
        UsageError: with the nearest known name.
    """
    by_folded = {name.casefold(): name for name in known}
    for name in asked:
        if name.casefold() in by_folded:
            continue
        begun = sorted(key for key in by_folded if key.startswith(name.casefold()))[:1]
        near = [by_folded[key] for key in begun or difflib.get_close_matches(name.casefold(), by_folded, n=1)]
        listing = f"known: {', '.join(sorted(known)[:_LISTED])}{' ...' if len(known) > _LISTED else ''}"
        hint = f"did you mean `{near[0]}`? {listing}" if near else listing
        raise UsageError(f"there is no {what} `{name}`", hint=hint)
