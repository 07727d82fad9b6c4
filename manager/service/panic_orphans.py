"""Panic beyond the ledger: machines that only a provider knows, found by their tag and ended there.

What belongs to a run that is being ended is left to whoever ends it, who has both paths too. Without a ledger that can
be read, whatever is this SkyPilot user's is ended.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from manager.service.context import Context
from manager.service.leftover_ends import Removal, remove_leftover
from manager.service.leftover_places import known_runs, why_not_aws, why_not_skypilot
from manager.service.leftovers import Askers, leftovers_of
from manager.service.leftovers_report import Leftovers
from manager.service.panic_end import OnPanic
from manager.service.panic_report import PanicEntry, PanicUpdate

PROVIDERS = "providers"
"""Stands for a run's id where it is told of places that did not answer."""


def asks_providers(context: Context) -> bool:
    """Whether there is anybody to ask for machines that the ledger does not know."""
    runs = known_runs(context)
    return why_not_aws(context, runs) is None or why_not_skypilot(runs) is None


def end_orphans(
    context: Context, in_hand: Collection[str], tell: OnPanic, *, askers: Askers | None = None
) -> tuple[PanicEntry, ...]:
    """End every machine that no run uses; how each stands, and what could not be asked.

    Args:
        context: surroundings.
        in_hand: runs that are being ended already.
        tell: called from this thread for whatever is learnt.
        askers: asked instead of the real providers.
    """
    asked = askers or Askers()
    found = find_orphans(context, askers=asked)
    entries = []
    for item in found.machines_without_run:
        name = item.rented.run_id or item.rented.id
        if item.rented.run_id not in in_hand:
            tell(PanicUpdate(run_id=name, text=f"{item.rented.told} is used by no run: ending it"))
            entries.append(_entry(name, remove_leftover(context, item, askers=asked)))
    silent = _silent_entry(found)
    return tuple(entries) if silent is None else (*entries, silent)


def find_orphans(context: Context, *, askers: Askers | None = None) -> Leftovers:
    """Machines under the tag, also without a ledger that can be read; nothing is ended."""
    return leftovers_of(context, known_runs(context), machines_only=True, askers=askers or Askers())


def not_through(why: str) -> PanicEntry:
    """Where the providers were not asked to the end."""
    return PanicEntry(
        run_id=PROVIDERS,
        state=None,
        is_gone=False,
        told=f"machines that the ledger does not know: {why}",
        evidence=None,
        cost_usd=None,
        commands=("tunefare leftovers",),
    )


def _entry(name: str, removal: Removal) -> PanicEntry:
    item = removal.leftover
    return PanicEntry(
        run_id=name,
        state=item.run_state,
        is_gone=removal.is_gone,
        told=f"{str(item.rented.kind).replace('_', ' ')} {item.rented.id}, which no run used: {removal.told}",
        evidence=removal.evidence,
        cost_usd=None,
        commands=removal.commands,
    )


def _silent_entry(found: Leftovers) -> PanicEntry | None:
    """Places that may hide a machine of ours; one where no run ever was is no alarm."""
    if not found.silent_of_runs:
        return None
    reasons = {found.silent[place] for place in found.silent_of_runs}
    told = f"no answer from {', '.join(found.silent_of_runs)}: {'; '.join(sorted(reasons))}"
    return replace(not_through(""), told=told)
