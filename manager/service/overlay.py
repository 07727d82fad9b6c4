"""Flags of the command line over a run file: what is given there wins, the rest stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

from manager.errors import UsageError
from manager.spec.model import CONFIDENCES, RunSpec, accelerator_wish

T = TypeVar("T")
CHEAPEST = "cheapest"
_MOST_NODES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What flags say; None: nothing."""

    max_usd: Decimal | None = None
    deadline_hours: float | None = None
    confidence: float | None = None
    clouds: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    accelerators: tuple[str, ...] | None = None
    spot: bool | None = None
    max_nodes: int | None = None
    on_paper: bool | None = None


def overlaid(spec: RunSpec, overlay: Overlay) -> RunSpec:
    """The spec with the flags laid over it.

    Raises:
        UsageError: a flag's value means nothing.
    """
    _check(overlay)
    budget, where = spec.budget, spec.where
    clouds = None if overlay.clouds is None else tuple(cloud.lower() for cloud in overlay.clouds)
    return replace(
        spec,
        budget=replace(
            budget,
            max_usd=_first(overlay.max_usd, budget.max_usd),
            deadline_hours=_first(overlay.deadline_hours, budget.deadline_hours),
            confidence=_first(overlay.confidence, budget.confidence),
        ),
        where=replace(
            where,
            clouds=_first(clouds, where.clouds),
            regions=_first(overlay.regions, where.regions),
            accelerators=_first(overlay.accelerators, where.accelerators),
            spot=_first(overlay.spot, where.spot),
            max_nodes=_first(overlay.max_nodes, where.max_nodes),
            on_paper=_first(overlay.on_paper, where.on_paper),
        ),
    )


def _first(flag: T | None, own: T) -> T:
    return own if flag is None else flag


def clouds_of(on: str | None) -> tuple[str, ...] | None:
    """The clouds that `--on` names; None: all that the run file allows."""
    return None if on in (None, CHEAPEST) else (str(on).lower(),)


def _check(overlay: Overlay) -> None:
    usd, hours, nodes = overlay.max_usd, overlay.deadline_hours, overlay.max_nodes
    if usd is not None and (not usd.is_finite() or usd <= 0):
        raise UsageError(f"{usd} dollars are no cap", hint="give dollars above 0, such as --budget 5")
    if hours is not None and not 0 < hours < float("inf"):
        raise UsageError(f"{hours:g} hours are no deadline", hint="give hours above 0, such as --deadline 6")
    if nodes is not None and not 1 <= nodes <= _MOST_NODES:
        raise UsageError(f"{nodes} nodes cannot be asked for", hint=f"give 1 to {_MOST_NODES}, such as --nodes 2")
    if overlay.confidence is not None and overlay.confidence not in CONFIDENCES:
        raise UsageError(
            f"limits cannot be kept at {overlay.confidence:g}",
            hint="0.5 compares expected figures with the limits, 0.9 the high ends of their intervals",
        )
    for text in overlay.accelerators or ():
        try:
            accelerator_wish(text)
        except ValueError as error:
            raise UsageError(str(error), hint="for example --gpus L4:1,A100") from error
