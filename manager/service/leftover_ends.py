"""The end of what outlived its run: one thing by its id, or all machines that no run uses; each with proof.

Refuses what belongs to a run that lives and what another user has tagged. An end counts when the provider, asked
again, does not have the thing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from manager.errors import EngineError, StateError, TunefareError, UsageError
from manager.launch.engine import Engine, Evidence, Handle
from manager.launch.inventory import Rented, RentedKind
from manager.launch.sky_inventory import MANAGED_JOB
from manager.runs.states import MAY_BILL, RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger, reading
from manager.service.leftovers import Askers, find_leftovers
from manager.service.leftovers_report import Leftover, Leftovers, Standing
from manager.service.running import SKY, engines

GONE_LIMIT_S = 60.0
"""For the provider to stop having a thing, after it was told to remove it."""
_POLL_S = 2.0
_IN_BUCKETS = frozenset({RentedKind.FOLDER, RentedKind.DATA})


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """How a removal ended."""

    leftover: Leftover
    is_gone: bool
    """Whether the provider, asked again, does not have it or is removing it."""
    told: str
    commands: tuple[str, ...]
    """What to type where it is not confirmed; empty otherwise."""
    evidence: Evidence
    """The provider's last answer."""


def find_one(found: Leftovers, thing_id: str) -> Leftover:
    """The thing of this id, which may be removed.

    Raises:
        UsageError: there is none, its run lives, or it is another user's.
    """
    item = next((item for item in found.items if item.rented.id == thing_id), None)
    if item is None:
        silent = f"; {', '.join(found.silent)} did not answer" if found.silent else ""
        nobody = f"; not asked: {', '.join(found.not_asked)}" if found.not_asked else ""
        raise UsageError(
            f"nothing that was found under the tag of a run has the id {thing_id!r}{silent}{nobody}",
            hint="`tunefare leftovers` lists what there is, and why a place was not asked",
        )
    run = item.rented.run_id
    if item.standing is Standing.LIVING and run is None:
        raise UsageError(
            f"{thing_id} may be read by a run that is on", hint="wait for its end: tunefare runs --may-bill"
        )
    if item.standing is Standing.LIVING:
        state = str(item.run_state).replace("_", " ")
        end = "reconcile" if item.run_state is RunState.UNCONFIRMED else "stop"
        raise UsageError(f"{thing_id} belongs to {run}, which is {state}", hint=f"end the run: tunefare {end} {run}")
    if item.standing is Standing.FOREIGN:
        whose = f"of {item.rented.user}" if item.rented.user else "of nobody knows whom"
        raise UsageError(
            f"{thing_id} belongs to a run {whose} that this ledger does not have: it is not touched",
            hint=f"if you are sure, type: {item.rented.remove_command}",
        )
    return item


def remove_leftover(
    context: Context, item: Leftover, *, askers: Askers | None = None, limit_s: float = GONE_LIMIT_S
) -> Removal:
    """Remove one thing, ask whether it is gone, and keep the answer with its run; never raises for a provider."""
    asked = askers or Askers()
    rented = item.rented
    try:
        _check_still_without_run(context, rented)
        _order_end(context, rented, asked)
        still = _wait(lambda: _still_there(rented, asked), limit_s=limit_s)
    except TunefareError as error:
        still, trouble = True, error.message
    else:
        trouble = f"{rented.place} still has it"
    told = trouble if still else f"{rented.cloud} has it no more, or is removing it"
    evidence = Evidence(
        confirmed=not still,
        asked_at_s=context.clock(),
        source=f"{rented.place}, after the run",
        answer=f"{str(rented.kind).replace('_', ' ')} {rented.id}: {told}",
        left=(rented.told,) if still else (),
    )
    commands = (rented.remove_command,) if still else ()
    _keep(context, item, evidence)
    return Removal(leftover=item, is_gone=not still, told=told, commands=commands, evidence=evidence)


def end_machines_without_run(
    context: Context,
    found: Leftovers,
    *,
    unknown_runs: bool,
    askers: Askers | None = None,
    tell: Callable[[str], None] = lambda text: None,
    limit_s: float = GONE_LIMIT_S,
) -> tuple[Removal, ...]:
    """End every machine that no run uses.

    Args:
        context: surroundings.
        found: what is there.
        unknown_runs: also machines of runs that the ledger does not have: another ledger of this user may have them.
        askers: asked instead of the real providers.
        tell: called with a sentence for each.
        limit_s: for each to be gone.
    """
    removals = []
    for item in found.machines_without_run:
        if item.standing is Standing.UNKNOWN_RUN and not unknown_runs:
            continue
        removal = remove_leftover(context, item, askers=askers, limit_s=limit_s)
        tell(f"{item.rented.told} of {item.rented.run_told}: {'gone' if removal.is_gone else removal.told}")
        removals.append(removal)
    return tuple(removals)


def reconcile_providers(
    context: Context, *, end: bool, askers: Askers | None = None, tell: Callable[[str], None] = lambda text: None
) -> tuple[Leftovers, tuple[Removal, ...]]:
    """What the providers know and the ledger does not: machines of runs that are over are ended, those of runs that
    it never had are told, or ended too (`end`)."""
    found = find_leftovers(context, machines_only=True, askers=askers)
    return found, end_machines_without_run(context, found, unknown_runs=end, askers=askers, tell=tell)


def _check_still_without_run(context: Context, rented: Rented) -> None:
    """Raises:
    EngineError: its run has begun, or begun anew, since the providers were asked.
    """
    state = None
    # Whoever ends things without a ledger knows that it cannot be read.
    with suppress(StateError), reading(context) as ledger:
        if ledger is not None and rented.run_id in ledger.run_ids(MAY_BILL | {RunState.PLANNED}):
            state = ledger.state(rented.run_id)
    if state is not None:
        raise EngineError(f"its run is {str(state).replace('_', ' ')} now")


def _order_end(context: Context, rented: Rented, askers: Askers) -> None:
    if rented.kind in _IN_BUCKETS:
        askers.remove_folder(rented)
    elif rented.kind is RentedKind.CLUSTER:
        with engines() as known:
            _down(context, rented, known[SKY])
    else:
        askers.aws.remove(rented)


def _down(context: Context, rented: Rented, sky: Engine) -> None:
    # What is said about the end of a thing whose run nobody knows lies in a folder of its own.
    run_dir: Path = context.home.runs_dir / (rented.run_id or rented.id)
    details = {"run_id": rented.run_id or "", "managed": rented.name == MANAGED_JOB}
    sky.down(Handle(engine=SKY, run_dir=str(run_dir), name=rented.id, details=details))


def _still_there(rented: Rented, askers: Askers) -> bool:
    """Raises:
    EngineError: the provider did not answer.
    """
    if rented.kind is RentedKind.CLUSTER:
        found = askers.clusters()
    elif rented.kind in _IN_BUCKETS:
        parent, _, name = rented.id.rpartition("/")
        found = askers.folders([parent], [name])
    else:
        found = askers.aws.find([rented.region] if rented.region else [], run_id=rented.run_id)
    if found.silent:
        raise EngineError("; ".join(f"{place} did not answer: {reason}" for place, reason in found.silent.items()))
    return any(item.id == rented.id for item in found.left)


def _wait(still_there: Callable[[], bool], *, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while still_there():
        if time.monotonic() >= deadline:
            return True
        time.sleep(_POLL_S)
    return False


def _keep(context: Context, item: Leftover, evidence: Evidence) -> None:
    """The answer with the run, where the ledger has it; a ledger that fails does not make the removal undone."""
    if item.run_state is None or item.rented.run_id is None or item.rented.kind in _IN_BUCKETS:
        return
    with suppress(StateError), open_ledger(context) as ledger:
        ledger.add_evidence(item.rented.run_id, evidence)


def runs_of(removals: Sequence[Removal]) -> str:
    """Ids and runs, with commas."""
    return ", ".join(f"{one.leftover.rented.id} of {one.leftover.rented.run_told}" for one in removals)
