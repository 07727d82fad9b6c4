"""What supervision tells whoever watches: one dataclass per kind, and its line of `run --json` (schema 1).

| type | fields beside schema, type, run_id |
|---|---|
| state | at_s, state, detail |
| metric | at_s, seq, event ("train" or "evaluation"), data, cost_usd, projected_usd |
| event | at_s, seq, event (every other type), data, cost_usd, projected_usd |
| charge | at_s, from_s, to_s, price_usd_per_hour, amount_usd, cost_usd, projected_usd |
| evidence | at_s, confirmed, source, answer, left |
| log | source ("task" or "manager"), text |

Dollars are numbers with at most six decimals, or null when unknown; projected_usd is {low, expected, high} or null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from manager.launch.engine import Evidence
from manager.runs.records import Charge, StateChange
from manager.units import MoneyInterval
from tasks.protocol import Event, EventType

UPDATE_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate:
    """The run entered a state."""

    run_id: str
    change: StateChange


@dataclass(frozen=True, slots=True, kw_only=True)
class EventUpdate:
    """An event was stored; each comes once."""

    run_id: str
    event: Event
    cost_usd: Decimal | None
    """Billed until now; None is unknown."""
    projected_usd: MoneyInterval | None
    """Final cost as far as it can be told (`manager.runs.projection`); None before the first step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUpdate:
    """A line of the log that is no event."""

    run_id: str
    text: str
    source: str = "task"
    """`task`, or `manager` when supervision itself has something to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeUpdate:
    """A charge was stored."""

    run_id: str
    charge: Charge
    cost_usd: Decimal | None
    """Sum of all charges; None is unknown."""
    projected_usd: MoneyInterval | None
    """As in EventUpdate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceUpdate:
    """The provider answered what is left."""

    run_id: str
    evidence: Evidence


Update = StateUpdate | EventUpdate | LogUpdate | ChargeUpdate | EvidenceUpdate
OnUpdate = Callable[[Update], None]


def update_to_json(update: Update) -> dict[str, Any]:
    """The update as the JSON object of its line; the module's table lists the fields."""
    kind, fields = _fields(update)
    return {"schema": UPDATE_SCHEMA, "type": kind, "run_id": update.run_id, **fields}


def _fields(update: Update) -> tuple[str, dict[str, Any]]:
    if isinstance(update, StateUpdate):
        change = update.change
        return "state", {"at_s": change.at_s, "state": str(change.state), "detail": change.detail}
    if isinstance(update, EventUpdate):
        event = update.event
        kind = "metric" if event.type in {EventType.TRAIN, EventType.EVALUATION} else "event"
        told = {"at_s": event.time_s, "seq": event.seq, "event": str(event.type), "data": event.data}
        return kind, {**told, **_dollars(update.cost_usd, update.projected_usd)}
    if isinstance(update, ChargeUpdate):
        charge = update.charge
        stretch = {"at_s": charge.at_s, "from_s": charge.from_s, "to_s": charge.to_s}
        amounts = {
            "price_usd_per_hour": _number(charge.price_usd_per_hour),
            "amount_usd": _number(charge.amount_usd),
        }
        return "charge", {**stretch, **amounts, **_dollars(update.cost_usd, update.projected_usd)}
    if isinstance(update, EvidenceUpdate):
        evidence = update.evidence
        told = {"at_s": evidence.asked_at_s, "confirmed": evidence.confirmed, "source": evidence.source}
        return "evidence", {**told, "answer": evidence.answer, "left": list(evidence.left)}
    return "log", {"source": update.source, "text": update.text}


def _dollars(cost_usd: Decimal | None, projected_usd: MoneyInterval | None) -> dict[str, Any]:
    projected = None
    if projected_usd is not None:
        projected = {
            "low": _number(projected_usd.low),
            "expected": _number(projected_usd.expected),
            "high": _number(projected_usd.high),
        }
    return {"cost_usd": _number(cost_usd), "projected_usd": projected}


def _number(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 6)
