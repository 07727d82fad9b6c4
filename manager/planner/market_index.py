"""MarketIndex: the shapes behind the rentals of a market, made once and used by every plan over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from manager.catalog.clouds import has_several_nodes
from manager.planner.assumptions import Assumptions
from manager.planner.shape import LOCAL, Shape, shape_of
from manager.prices.market import Market, Rental

_CORES = ("cpu_flops_per_vcpu", "cpu_bandwidth_per_vcpu")
_ANY_CLOUD = "*"
_SLICE = "tpu-"
"""A slice of a TPU is as many chips as its name says."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One rental and the shape of one node of it."""

    rental: Rental
    shape: Shape
    can_be_many: bool
    """Whether several of it may work on one job: whole cards, where SkyPilot rents several machines at once."""

    def node_counts(self, max_nodes: int) -> Sequence[int]:
        """Numbers of nodes to try: powers of two up to the most that is allowed, and that itself."""
        if max_nodes == 1 or not self.can_be_many:
            return (1,)
        powers = [2**power for power in range(max_nodes.bit_length())]
        return sorted({*powers, max_nodes})


@dataclass(frozen=True, slots=True)
class MarketIndex:
    """A market made ready for planning."""

    market: Market
    seats: tuple[Seat, ...]

    @staticmethod
    def of(market: Market, assumptions: Assumptions) -> MarketIndex:
        """The index of a market; shapes without an accelerator share a place where the same is assumed of them."""
        return MarketIndex(market=market, seats=tuple(_seats(market, assumptions)))


def _seats(market: Market, assumptions: Assumptions) -> Iterator[Seat]:
    known: dict[Shape, Shape] = {}
    for rental in market.rentals:
        shape = shape_of(rental)
        if shape.card is None and shape.place != LOCAL and not _is_special(assumptions, shape.place):
            shape = shape._replace(place=_ANY_CLOUD)
        shape = known.setdefault(shape, shape)
        name = rental.accelerator or _SLICE
        is_whole = not name.startswith(_SLICE) and rental.accelerator_count >= 1
        can_be_many = is_whole and rental.cloud != LOCAL and has_several_nodes(rental.cloud)
        yield Seat(rental, shape, can_be_many)


def _is_special(assumptions: Assumptions, cloud: str) -> bool:
    return any((name, cloud) in assumptions.rows for name in _CORES)
