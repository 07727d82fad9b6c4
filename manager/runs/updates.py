"""What supervision tells whoever watches: one dataclass per kind, and its line of `run --json` (schema 1).

| type | fields beside schema, type, run_id |
|---|---|
| state | at_s, state, detail |
| metric | at_s, seq, event ("train" or "evaluation"), data, cost_usd, projected_usd |
| event | at_s, seq, event (every other type), data, cost_usd, projected_usd |
| charge | at_s, from_s, to_s, price_usd_per_hour, amount_usd, cost_usd, projected_usd |
| requote | at_s, quoted_usd, projected_usd, projected_hours {low, expected, high}, cap_usd, above (share over the \
quote) or null, tolerated_above, is_above, breaks_cap, basis |
| transfer | at_s, what (`data`: staged before the launch), to (URI), done_bytes, of_bytes, bytes_per_s or null |
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
from manager.runs.requote import Requote
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RequoteUpdate:
    """The machine measured the run before training, and the quote was renewed."""

    run_id: str
    requote: Requote


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferUpdate:
    """Files are on their way."""

    run_id: str
    at_s: float
    what: str
    """`data`."""
    to: str
    """URI of the bucket."""
    done_bytes: int
    """What is there, of earlier launches too."""
    of_bytes: int
    bytes_per_s: float | None
    """Mean of this transfer; None: nothing has moved yet."""


Update = StateUpdate | EventUpdate | LogUpdate | ChargeUpdate | EvidenceUpdate | RequoteUpdate | TransferUpdate
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
    if isinstance(update, RequoteUpdate):
        return "requote", _requoted(update.requote)
    if isinstance(update, TransferUpdate):
        rate = None if update.bytes_per_s is None else round(update.bytes_per_s)
        moved = {"done_bytes": update.done_bytes, "of_bytes": update.of_bytes, "bytes_per_s": rate}
        return "transfer", {"at_s": update.at_s, "what": update.what, "to": update.to, **moved}
    if isinstance(update, EvidenceUpdate):
        evidence = update.evidence
        told = {"at_s": evidence.asked_at_s, "confirmed": evidence.confirmed, "source": evidence.source}
        return "evidence", {**told, "answer": evidence.answer, "left": list(evidence.left)}
    return "log", {"source": update.source, "text": update.text}


def _requoted(renewed: Requote) -> dict[str, Any]:
    hours = renewed.projected_hours
    return {
        "at_s": renewed.at_s,
        "quoted_usd": _interval(renewed.quoted_usd),
        "projected_usd": _interval(renewed.projected_usd),
        "projected_hours": {"low": hours.low, "expected": hours.expected, "high": hours.high},
        "cap_usd": _number(renewed.cap_usd),
        "above": renewed.above,
        "tolerated_above": renewed.tolerated_above,
        "is_above": renewed.is_above,
        "breaks_cap": renewed.breaks_cap,
        "basis": renewed.basis,
    }


def _dollars(cost_usd: Decimal | None, projected_usd: MoneyInterval | None) -> dict[str, Any]:
    return {"cost_usd": _number(cost_usd), "projected_usd": _interval(projected_usd)}


def _interval(dollars: MoneyInterval | None) -> dict[str, float | None] | None:
    if dollars is None:
        return None
    return {"low": _number(dollars.low), "expected": _number(dollars.expected), "high": _number(dollars.high)}


def _number(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 6)
