"""What a run has cost until now, without reading all its charges: the last bill and the charges after it.

A bill is stored with each charge. Charges without one were written by a client of an older version.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.runs import rows
from manager.runs.database import Database
from manager.runs.records import total_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Sums over the charges of a run."""

    billed_s: float
    """0 before the first charge."""
    cost_usd: Decimal | None
    """None: one of the amounts is unknown; 0 before the first."""


def bill_of(db: Database, run_id: str) -> Bill:
    """The bill of a run as it stands; the caller holds the transaction."""
    last = db.execute(
        "SELECT charge_id, billed_s, cost_usd FROM bills WHERE run_id = ? ORDER BY charge_id DESC LIMIT 1", (run_id,)
    ).fetchone()
    charge_id, billed_s, cost_usd = (0, 0.0, Decimal(0)) if last is None else (*last[:2], rows.money_from_text(last[2]))
    later = db.execute(
        "SELECT at_s, from_s, to_s, price_usd_per_hour, amount_usd, what FROM charges WHERE run_id = ? AND id > ?",
        (run_id, charge_id),
    ).fetchall()
    charges = [rows.charge_from_row(row) for row in later]
    added = total_usd(charges)
    return Bill(
        billed_s=billed_s + sum(charge.to_s - charge.from_s for charge in charges),
        cost_usd=None if cost_usd is None or added is None else cost_usd + added,
    )
