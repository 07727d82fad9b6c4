"""The end of runs in words, the same on the command line and in the terminal UI."""

from __future__ import annotations

from manager.service.leftovers_report import Leftovers
from manager.service.money_words import rate_words
from manager.service.panic_report import PanicEntry, PanicTarget, PanicTargets
from manager.service.state_words import state_words
from manager.units import format_usd

WORD = "panic"
"""To be typed, so that no key pressed by mistake ends anything."""
ASKS_PROVIDERS = "the providers are asked for machines of ours that no run uses, and those are ended too"
"""Where there are accounts to ask."""
NOBODY_TO_ASK = (
    "no provider can be asked from here: there are no credentials of a cloud, and no SkyPilot that has been used"
)
"""Where there are none."""
FOLDERS = "looking for runs in their folders instead; machines of a run without a folder are not found"
"""What is done where the ledger cannot be read."""


def found_text(found: PanicTargets) -> str:
    """`2 runs may be billed: $3.16/h`; what is known where there is none."""
    count = len(found.targets)
    if not count:
        return "no run was found that may be billed" if found.ledger_error else "nothing to end: no run may be billed"
    rate = rate_words([target.price_usd_per_hour for target in found.targets])
    return f"{count} {'run' if count == 1 else 'runs'} may be billed: {rate}"


def orphans_text(found: Leftovers) -> str:
    """`no run may be billed, but 1 machine that no run uses ARE BILLED`; what is known where there is none."""
    count = len(found.machines_without_run)
    if count:
        told = "1 machine that no run uses IS" if count == 1 else f"{count} machines that no run uses ARE"
        return f"no run may be billed, but {told} BILLED"
    if found.silent_of_runs:
        return "no run may be billed; not all providers answered: a machine of ours MAY BE BILLED there"
    return f"nothing to end: no run may be billed, and {' and '.join(found.asked) or 'nobody'} has no machine of ours"


def price_text(target: PanicTarget) -> str:
    """`$3.06/h`, or `unknown`."""
    price = target.price_usd_per_hour
    return "unknown" if price is None else f"{format_usd(price)}/h"


def target_text(target: PanicTarget) -> str:
    """`running on aws g5.xlarge; not supervised`."""
    client = "" if target.has_client or target.state is None else "; not supervised"
    machine = "" if target.machine is None else f" on {target.machine}"
    return f"{state_words(target.state)}{machine}{client}"


def cost_text(entry: PanicEntry) -> str:
    """`$0.31`, or `cost unknown`."""
    return "cost unknown" if entry.cost_usd is None else format_usd(entry.cost_usd)


def verdict_text(entry: PanicEntry) -> str:
    """`GONE: ...` or `NOT CONFIRMED: ...`."""
    return f"{'GONE' if entry.is_gone else 'NOT CONFIRMED'}: {entry.told}"


def verdict_lines(entry: PanicEntry) -> list[str]:
    """The verdict, and indented below it what to type."""
    return [verdict_text(entry), *(f"    {command}" for command in entry.commands)]
