"""TPU slices of GCP's catalog, and how a price is told from a placeholder.

SkyPilot writes 700.0 where it knows no price of a TPU v6e: a figure just above the dearest real slice (691.2), chosen
so that its fail-over looks elsewhere first (`TPU_V6E_MAX_PRICE` in its catalog fetcher for GCP). The data show it too:
a figure that slices of different size share cannot be a price, because the price of a slice grows with its chips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal

from manager.catalog.accelerators import accelerator
from manager.prices.catalog_file import Cells
from manager.prices.machines import Listing, Machine
from manager.prices.plain_catalog import price_listing
from manager.prices.price_rules import Audit

TPU_VM = "TPU-VM"
"""SkyPilot's name for the host that comes with each slice."""
_SKYPILOT_PLACEHOLDER = Decimal("700.0")
_PLACEHOLDER_GENERATION = "tpu-v6e"

_Rows = Mapping[Cells, list[Cells]]
_Placeholders = set[tuple[str, str, Decimal]]


def is_tpu(name: str) -> bool:
    """Whether an accelerator's name is that of a TPU slice."""
    return name.startswith("tpu-")


def tpu_machines(rows: _Rows, audit: Audit) -> Iterator[Machine]:
    """One machine per slice and region; placeholders become unknown prices.

    Args:
        rows: (instance type, vCPUs, memory, accelerator, count, region) -> [(zone, price, spot price)].
        audit: counts the rules.
    """
    placeholders = _shared_figures(rows)
    for (_, _, _, name, _, region), prices in rows.items():
        yield Machine(
            instance_type=TPU_VM,
            accelerator=name,
            accelerator_count=1.0,
            vcpus=None,
            memory_bytes=None,
            region=region or None,
            listings=tuple(_listing(name, cells, placeholders, audit) for cells in prices),
        )


def _listing(name: str, cells: Cells, placeholders: _Placeholders, audit: Audit) -> Listing:
    zone, price, spot, flags = price_listing(cells, audit)
    if price is not None and _is_placeholder(name, "Price", price, placeholders):
        audit.note("placeholder_price")
        price, flags = None, ("placeholder_price",)
    if spot is not None and _is_placeholder(name, "SpotPrice", spot, placeholders):
        audit.note("placeholder_price")
        spot = None
    return Listing(zone, price, spot, flags)


def _is_placeholder(name: str, market: str, price: Decimal, placeholders: _Placeholders) -> bool:
    generation = name.rpartition("-")[0]
    if generation == _PLACEHOLDER_GENERATION and price == _SKYPILOT_PLACEHOLDER:
        return True
    return (generation, market, price) in placeholders


def _shared_figures(rows: _Rows) -> _Placeholders:
    """Figures that slices with different numbers of chips of one generation have in common."""
    chips: defaultdict[tuple[str, str, Decimal], set[int]] = defaultdict(set)
    quiet = Audit()
    for (_, _, _, name, _, _), prices in rows.items():
        known = accelerator(name)
        if known is None:
            continue
        generation = name.rpartition("-")[0]
        for _, price_text, spot_text in prices:
            for market, text in (("Price", price_text), ("SpotPrice", spot_text)):
                price = quiet.price(text, missing="unknown_price")
                if price is not None:
                    chips[generation, market, price].add(known.chips)
    return {figure for figure, sizes in chips.items() if len(sizes) > 1}
