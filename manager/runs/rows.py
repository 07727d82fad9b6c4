"""Values of the ledger to columns and back; no connection, no rule of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from manager.launch.engine import Evidence, Handle
from manager.prices.offer import Offer
from manager.runs.clients import Client
from manager.runs.records import Charge, StateChange, total_usd
from manager.runs.states import RunState

Row = tuple[Any, ...]
CLIENT_COLUMNS = "id, at_s, host, pid, created_at_s, machine"


def money_to_text(value: Decimal | None) -> str | None:
    """Exact decimal text; None is unknown."""
    return None if value is None else str(value)


def money_from_text(text: str | Decimal | None) -> Decimal | None:
    """The inverse of `money_to_text`; a server gives the number itself."""
    return None if text is None else Decimal(text)


def handle_to_json(handle: Handle) -> str:
    """A handle as JSON."""
    return json.dumps(asdict(handle), sort_keys=True)


def handle_from_json(text: str) -> Handle:
    """The inverse of `handle_to_json`."""
    return Handle(**json.loads(text))


def offer_to_json(offer: Offer) -> str:
    """An offer as JSON, its price as exact text."""
    return json.dumps({**asdict(offer), "price_usd_per_hour": money_to_text(offer.price_usd_per_hour)}, sort_keys=True)


def offer_from_json(text: str) -> Offer:
    """The inverse of `offer_to_json`."""
    record = json.loads(text)
    record["price_usd_per_hour"] = money_from_text(record["price_usd_per_hour"])
    return Offer(**{**record, "zones": tuple(record["zones"]), "flags": tuple(record["flags"])})


def state_change_from_row(row: Row) -> StateChange:
    """From (state, at_s, detail)."""
    return StateChange(state=RunState(row[0]), at_s=row[1], detail=row[2])


def client_from_row(row: Row) -> Client:
    """From CLIENT_COLUMNS."""
    return Client(row_id=row[0], at_s=row[1], host=row[2], pid=row[3], created_at_s=row[4], machine=row[5])


def charge_to_row(charge: Charge) -> Row:
    """To (at_s, from_s, to_s, price_usd_per_hour, amount_usd, what)."""
    price, amount = money_to_text(charge.price_usd_per_hour), money_to_text(charge.amount_usd)
    return (charge.at_s, charge.from_s, charge.to_s, price, amount, charge.what)


def charge_from_row(row: Row) -> Charge:
    """The inverse of `charge_to_row`."""
    return Charge(
        at_s=row[0],
        from_s=row[1],
        to_s=row[2],
        price_usd_per_hour=money_from_text(row[3]),
        amount_usd=money_from_text(row[4]),
        what=row[5],
    )


def bill_row(charges: Sequence[Charge]) -> Row:
    """To (billed_s, cost_usd): what these charges come to."""
    return (sum(charge.to_s - charge.from_s for charge in charges), money_to_text(total_usd(charges)))


def evidence_to_row(evidence: Evidence) -> Row:
    """To (asked_at_s, confirmed, source, answer, left_json)."""
    left = json.dumps(evidence.left)
    return (evidence.asked_at_s, int(evidence.confirmed), evidence.source, evidence.answer, left)


def evidence_from_row(row: Row) -> Evidence:
    """The inverse of `evidence_to_row`."""
    return Evidence(
        asked_at_s=row[0], confirmed=bool(row[1]), source=row[2], answer=row[3], left=tuple(json.loads(row[4]))
    )
