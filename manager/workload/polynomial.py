"""Compiled polynomials of a trace: their few terms beside the place of each monomial, for thousands of evaluations.

What a monomial means is the trace's (`tasks.step_trace.monomials`); `evaluate` there is the same for a single question.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.step_trace import MONOMIALS, evaluate
from tasks.step_trace import monomials as named_monomials

__all__ = ["RANK", "Monomials", "Row", "carries_rank", "compile_polynomial", "evaluate", "monomials", "slope", "value"]

Row = tuple[tuple[int, float], ...]
"""Place of the monomial in MONOMIALS, and its coefficient; terms of 0 are left out."""
Monomials = tuple[float, ...]
"""Values of the monomials, in the order of MONOMIALS."""
RANK = MONOMIALS.index("R")
_PLACES = {name: place for place, name in enumerate(MONOMIALS)}
_IN_RANK = frozenset(place for place, name in enumerate(MONOMIALS) if "R" in name)


def compile_polynomial(polynomial: Mapping[str, float]) -> Row:
    """The terms of a polynomial.

    Raises:
        ValueError: an unknown monomial, whose part would be lost without a word.
    """
    if not polynomial.keys() <= _PLACES.keys():
        raise ValueError(f"unknown monomials: {', '.join(sorted(polynomial.keys() - _PLACES.keys()))}")
    return tuple((_PLACES[name], coefficient) for name, coefficient in polynomial.items() if coefficient)


def monomials(*, batch: float, length: float, rank: float = 0.0) -> Monomials:
    """Values of all monomials at one batch, length and rank."""
    return tuple(named_monomials(batch, length, rank).values())


def value(row: Row, at: Monomials) -> float:
    """The value of a compiled polynomial."""
    total = 0.0
    for place, coefficient in row:
        total += coefficient * at[place]
    return total


def slope(row: Row, place: int) -> float:
    """The coefficient of one monomial."""
    return dict(row).get(place, 0.0)


def carries_rank(row: Row) -> bool:
    """Whether the value depends on the LoRA rank."""
    return any(place in _IN_RANK for place, _ in row)
