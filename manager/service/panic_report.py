"""What an end of everything is told as: which runs, how far, and what is confirmed. Values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.errors import ExitCode, TunefareError
from manager.launch.engine import Evidence
from manager.runs.states import RunState

PANIC_JSON_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicTarget:
    """A run that may be billed."""

    run_id: str
    run_dir: Path
    state: RunState | None
    """None: the ledger cannot be read, and the run was found by its folder."""
    machine: str | None
    """Name of the offer taken, or of the one that is being launched; None: unknown."""
    price_usd_per_hour: Decimal | None
    """None: unknown."""
    has_client: bool
    """Whether a living process supervises it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicTargets:
    """All that would be ended."""

    targets: tuple[PanicTarget, ...]
    """Dearest first; of an unknown price before all."""
    ledger_error: TunefareError | None
    """Why the ledger cannot be read, so that runs were looked for in their folders; None: it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicUpdate:
    """Something was learnt of one run."""

    run_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicEntry:
    """How one run stands at the end."""

    run_id: str
    state: RunState | None
    """As the ledger had it last; None: it could not be read."""
    is_gone: bool
    """Whether the provider confirmed that nothing is left, or nothing was ever started."""
    told: str
    """The evidence, or why there is none."""
    evidence: Evidence | None
    """The last answer; None: nobody was asked."""
    cost_usd: Decimal | None
    """Machine time billed; None: unknown."""
    commands: tuple[str, ...]
    """What to type where the end is not confirmed, in this order; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicReport:
    """How everything stands at the end."""

    entries: tuple[PanicEntry, ...]
    ledger_error: TunefareError | None
    """As in PanicTargets."""

    @property
    def unconfirmed(self) -> tuple[PanicEntry, ...]:
        """Runs that may still be billed."""
        return tuple(entry for entry in self.entries if not entry.is_gone)

    @property
    def exit_code(self) -> ExitCode:
        """5 where something may still be billed, 1 where all that was found is gone and the ledger was not read."""
        if self.unconfirmed:
            return ExitCode.TEARDOWN_UNCONFIRMED
        return ExitCode.DONE if self.ledger_error is None else self.ledger_error.exit_code


def panic_to_json(report: PanicReport) -> dict[str, Any]:
    """The report as one JSON object, schema 1; times in Unix seconds, money in dollars, null where unknown."""
    error = report.ledger_error
    return {
        "schema": PANIC_JSON_VERSION,
        "type": "panic",
        "runs": [
            {
                "run_id": entry.run_id,
                "state": None if entry.state is None else str(entry.state),
                "gone": entry.is_gone,
                "told": entry.told,
                "evidence": None
                if entry.evidence is None
                else {**asdict(entry.evidence), "left": list(entry.evidence.left)},
                "cost_usd": None if entry.cost_usd is None else float(entry.cost_usd),
                "commands": list(entry.commands),
            }
            for entry in report.entries
        ],
        "ledger_error": None if error is None else {"message": error.message, "hint": error.hint},
    }
