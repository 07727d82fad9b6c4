"""Compiled polynomials of a trace: rows of coefficients in the order of its MONOMIALS, for thousands of evaluations.

What a monomial means is the trace's (`tasks.step_trace.monomials`); `evaluate` there is the same for a single question.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.step_trace import MONOMIALS, evaluate
from tasks.step_trace import monomials as named_monomials

__all__ = ["Row", "carries_rank", "compile_polynomial", "evaluate", "monomials", "value"]

Row = tuple[float, ...]
"""Coefficients, or values of the monomials, in the order of MONOMIALS."""
RANK = MONOMIALS.index("R")
_KNOWN = frozenset(MONOMIALS)
_IN_RANK = tuple(at for at, name in enumerate(MONOMIALS) if "R" in name)


def compile_polynomial(polynomial: Mapping[str, float]) -> Row:
    """The coefficients in their fixed order.

    Raises:
        ValueError: an unknown monomial, whose part would be lost without a word.
    """
    if not polynomial.keys() <= _KNOWN:
        raise ValueError(f"unknown monomials: {', '.join(sorted(polynomial.keys() - _KNOWN))}")
    return tuple(polynomial.get(name, 0.0) for name in MONOMIALS)


def monomials(*, batch: float, length: float, rank: float = 0.0) -> Row:
    """Values of all monomials at one batch, length and rank."""
    return tuple(named_monomials(batch, length, rank).values())


def value(row: Row, at: Row) -> float:
    """The value of a compiled polynomial."""
    total = 0.0
    for coefficient, monomial in zip(row, at, strict=True):
        if coefficient:
            total += coefficient * monomial
    return total


def carries_rank(row: Row) -> bool:
    """Whether the value depends on the LoRA rank."""
    return any(row[at] for at in _IN_RANK)
