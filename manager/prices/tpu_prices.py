"""TPU slices of GCP's catalog, and how a price is told from a placeholder.

SkyPilot writes 700.0 where it knows no price of a TPU v6e: a figure just above the dearest real slice (691.2), chosen
so that its fail-over looks elsewhere first (`TPU_V6E_MAX_PRICE` in its catalog fetcher for GCP). The data show it too:
a figure that slices of different size share cannot be a price, because the price of a slice grows with its chips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from manager.catalog.accelerators import accelerator
from manager.prices.catalog_file import Cells
from manager.prices.machines import Listing, Machine
from manager.prices.plain_catalog import listings_of
from manager.prices.price_rules import TICKS_PER_USD, Audit

TPU_VM = "TPU-VM"
"""SkyPilot's name for the host that comes with each slice."""
_SKYPILOT_PLACEHOLDER = 700 * TICKS_PER_USD
_PLACEHOLDER_GENERATION = "tpu-v6e"

_Rows = Mapping[str, list[Cells]]
_Placeholders = set[tuple[str, str, int]]


def is_tpu(name: str) -> bool:
    """Whether an accelerator's name is that of a TPU slice."""
    return name.startswith("tpu-")


def tpu_machines(rows: _Rows, audit: Audit) -> Iterator[Machine]:
    """One machine per slice; placeholders become unknown prices.

    Args:
        rows: name of the slice -> [(region, zone, price, spot price)].
        audit: counts the rules.
    """
    placeholders = _shared_figures(rows)
    for name, places in rows.items():
        known = accelerator(name)
        yield Machine(
            instance_type=TPU_VM,
            accelerator=name,
            accelerator_count=1.0,
            accelerator_memory_bytes=None if known is None else known.memory_bytes,
            vcpus=None,
            memory_bytes=None,
            listings=[_checked(name, listing, placeholders, audit) for listing in listings_of(places, audit)],
        )


def _checked(name: str, listing: Listing, placeholders: _Placeholders, audit: Audit) -> Listing:
    region, zone, price, spot, flags = listing
    if price is not None and _is_placeholder(name, "Price", price, placeholders):
        audit.note("placeholder_price")
        price, flags = None, ("placeholder_price",)
    if spot is not None and _is_placeholder(name, "SpotPrice", spot, placeholders):
        audit.note("placeholder_price")
        spot = None
    return (region, zone, price, spot, flags)


def _is_placeholder(name: str, market: str, ticks: int, placeholders: _Placeholders) -> bool:
    generation = name.rpartition("-")[0]
    if generation == _PLACEHOLDER_GENERATION and ticks == _SKYPILOT_PLACEHOLDER:
        return True
    return (generation, market, ticks) in placeholders


def _shared_figures(rows: _Rows) -> _Placeholders:
    """Figures that slices with different numbers of chips of one generation have in common."""
    chips: defaultdict[tuple[str, str, int], set[int]] = defaultdict(set)
    quiet = Audit()
    for name, places in rows.items():
        known = accelerator(name)
        if known is None:
            continue
        generation = name.rpartition("-")[0]
        for _, _, price, spot, _ in listings_of(places, quiet):
            for market, ticks in (("Price", price), ("SpotPrice", spot)):
                if ticks is not None:
                    chips[generation, market, ticks].add(known.chips)
    return {figure for figure, sizes in chips.items() if len(sizes) > 1}
