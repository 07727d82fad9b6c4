"""Panic: end every run that may be billed, all at the same time; one that hangs holds up none.

A run whose client lives is ended by its client, which is asked to do it at once; one without is ended here. Where the
ledger cannot be used, runs are looked for in their folders: what is found there is taken down all the same. Machines
that only a provider knows are `panic_orphans`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path

from manager.errors import InterruptedRunError, StateError
from manager.launch.engine import Engine
from manager.launch.local_process import processes_of, read_leader
from manager.runs.ledger import Ledger
from manager.runs.session import SuperviseSettings
from manager.runs.states import MAY_BILL, RunState
from manager.service.context import Context
from manager.service.inspection import has_client, open_ledger
from manager.service.leftovers import Askers
from manager.service.panic_end import OnPanic, end_target, handle_of, price_of, unconfirmed
from manager.service.panic_orphans import end_orphans, not_through
from manager.service.panic_report import PanicEntry, PanicReport, PanicTarget, PanicTargets, PanicUpdate
from manager.service.panic_words import verdict_text
from manager.service.running import engines, supervise_settings
from manager.units import format_duration

PANIC_LIMIT_S = 600.0
"""For all runs together; teardowns of clouds take minutes. What has not ended then is told of as unconfirmed."""
AT_A_TIME = 16
"""Runs that are ended at the same time: each may have a worker process of its own."""
_POLL_S = 0.2

OpenEngines = Callable[[], AbstractContextManager[Mapping[str, Engine]]]


def panic_targets(context: Context) -> PanicTargets:
    """Every run that may be billed, dearest first; nothing is ended."""
    error: StateError | None = None
    try:
        found = _from_ledger(context)
    except StateError as caught:
        found, error = _from_folders(context), caught
    return PanicTargets(targets=tuple(sorted(found, key=_urgency)), ledger_error=error)


def panic(
    context: Context,
    found: PanicTargets,
    *,
    on_update: OnPanic,
    limit_s: float = PANIC_LIMIT_S,
    open_engines: OpenEngines = engines,
    settings: SuperviseSettings | None = None,
    askers: Askers | None = None,
) -> PanicReport:
    """End the runs that were found, without checkpoints, and machines that only a provider knows; returns when each is
    gone or the time is up.

    Args:
        context: surroundings.
        found: what `panic_targets` gave, as it was shown to the user.
        on_update: called from this thread for whatever is learnt of a run.
        limit_s: time for all of them.
        open_engines: gives the engines by name; each run gets its own.
        settings: rhythm and patience; None: those of the settings file.
        askers: asked for machines instead of the real providers.
    """
    patience = settings or supervise_settings(context)
    news: queue.SimpleQueue[PanicUpdate | PanicEntry | tuple[PanicEntry, ...]] = queue.SimpleQueue()
    turns = threading.Semaphore(AT_A_TIME)

    def end(target: PanicTarget) -> None:
        with turns:
            news.put(_end_one(context, target, open_engines, patience, news.put))

    for target in found.targets:
        # Not waited for at the end of this process: whoever takes the run over finds it as it is.
        threading.Thread(target=end, args=(target,), name=f"panic-{target.run_id}", daemon=True).start()
    in_hand = [target.run_id for target in found.targets]
    # Beside the runs: whoever is slow there holds up none of them.
    threading.Thread(
        target=lambda: news.put(_end_orphans(context, in_hand, news.put, askers)), name="panic-orphans", daemon=True
    ).start()
    entries = _collect(found.targets, news, on_update, limit_s=limit_s)
    return PanicReport(entries=entries, ledger_error=found.ledger_error)


def _end_one(
    context: Context, target: PanicTarget, open_engines: OpenEngines, patience: SuperviseSettings, tell: OnPanic
) -> PanicEntry:
    try:
        with open_engines() as known:
            return end_target(context, target, known, patience, tell)
    except Exception as error:  # Also a defect gives an entry: a run nobody reports on would be forgotten.
        return unconfirmed(target, told=f"{type(error).__name__}: {error}")


def _end_orphans(
    context: Context, in_hand: Sequence[str], tell: OnPanic, askers: Askers | None
) -> tuple[PanicEntry, ...]:
    try:
        return end_orphans(context, in_hand, tell, askers=askers)
    except Exception as error:  # As above: what nobody could look for may be there.
        return (not_through(f"{type(error).__name__}: {error}"),)


def _collect(
    targets: tuple[PanicTarget, ...],
    news: queue.SimpleQueue[PanicUpdate | PanicEntry | tuple[PanicEntry, ...]],
    on_update: OnPanic,
    *,
    limit_s: float,
) -> tuple[PanicEntry, ...]:
    """The entries in the order of the targets, then what only a provider knew; a signal or the end of the time leaves
    the rest unconfirmed."""
    ended: dict[str, PanicEntry] = {}
    beyond: tuple[PanicEntry, ...] | None = None
    why_not = f"not ended within {format_duration(limit_s)}"
    deadline = time.monotonic() + limit_s
    try:
        while (beyond is None or len(ended) < len(targets)) and time.monotonic() < deadline:
            for one in _next(news):
                if isinstance(one, PanicUpdate):
                    on_update(one)
                    continue
                if isinstance(one, PanicEntry):
                    ended[one.run_id] = one
                else:
                    beyond = one
                for entry in (one,) if isinstance(one, PanicEntry) else one:
                    on_update(PanicUpdate(run_id=entry.run_id, text=verdict_text(entry)))
    except (KeyboardInterrupt, InterruptedRunError):
        why_not = "interrupted before it had ended"
    runs = (ended.get(target.run_id) or unconfirmed(target, told=why_not) for target in targets)
    return (*runs, *((not_through(why_not),) if beyond is None else beyond))


def _next(
    news: queue.SimpleQueue[PanicUpdate | PanicEntry | tuple[PanicEntry, ...]],
) -> Iterator[PanicUpdate | PanicEntry | tuple[PanicEntry, ...]]:
    try:
        yield news.get(timeout=_POLL_S)
    except queue.Empty:
        return


def _from_ledger(context: Context) -> list[PanicTarget]:
    if not context.has_ledger:
        return []
    with open_ledger(context) as ledger:
        now_s = context.clock()
        targets = [_target(ledger, run_id, now_s) for run_id in ledger.run_ids(MAY_BILL | {RunState.PLANNED})]
    # A run that is planned and has no client has started nothing, and will not.
    return [target for target in targets if target.state is not RunState.PLANNED or target.has_client]


def _target(ledger: Ledger, run_id: str, now_s: float) -> PanicTarget:
    record = ledger.run(run_id)
    choice = record.plan.choice
    offer = record.offer or (None if choice is None else choice.offer)
    return PanicTarget(
        run_id=run_id,
        run_dir=record.run_dir,
        state=record.state,
        machine=None if offer is None else offer.title,
        price_usd_per_hour=price_of(record),
        has_client=has_client(ledger, run_id, now_s),
    )


def _from_folders(context: Context) -> list[PanicTarget]:
    """Runs that were launched through SkyPilot at any time, and those of which processes live here."""
    folders = sorted(folder for folder in context.home.runs_dir.glob("*") if folder.is_dir())
    return [
        PanicTarget(
            run_id=folder.name, run_dir=folder, state=None, machine=None, price_usd_per_hour=None, has_client=False
        )
        for folder in folders
        if _may_run(folder)
    ]


def _may_run(folder: Path) -> bool:
    handle = handle_of(folder)
    if handle is None:
        return False
    return handle.engine != "local" or bool(processes_of(folder.resolve(), read_leader(folder)))


def _urgency(target: PanicTarget) -> tuple[bool, Decimal, str]:
    price = target.price_usd_per_hour
    return price is not None, -(price or Decimal(0)), target.run_id
