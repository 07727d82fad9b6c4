"""The end of one run that may be billed: through its client, without one, or, where the ledger fails, by its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from manager.errors import EngineError, StateError, TunefareError
from manager.launch.by_hand import commands_by_hand
from manager.launch.engine import Engine, Evidence, Handle
from manager.launch.local_runner import PID_FILE
from manager.launch.render import cluster_name
from manager.launch.sky_attempt import ATTEMPT_FILE
from manager.runs.clients import Client
from manager.runs.ledger import Ledger
from manager.runs.reconcile import STOP_WAIT_S, stop
from manager.runs.records import RunRecord
from manager.runs.session import SuperviseSettings
from manager.runs.states import FINAL
from manager.runs.updates import EvidenceUpdate, LogUpdate, StateUpdate, Update
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.panic_report import PanicEntry, PanicTarget, PanicUpdate
from manager.service.running import engines, supervise_settings

CLIENT_LIMIT_S = 90.0
"""For a living client to take its run one state further; a launch that is broken off takes its machine down first."""
DETAIL = "tunefare panic"
OnPanic = Callable[[PanicUpdate], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stop:
    """How a run is asked to end."""

    detail: str
    now: bool
    wait_s: float
    """For a living client to take its run one state further."""


def end_target(
    context: Context, target: PanicTarget, known: Mapping[str, Engine], settings: SuperviseSettings, on_update: OnPanic
) -> PanicEntry:
    """End a run at once and say what is left of it; every error becomes an entry that is not confirmed."""
    try:
        if target.state is None:
            return _by_folder(context, target, known, None)
        order = _Stop(detail=DETAIL, now=True, wait_s=CLIENT_LIMIT_S)
        with open_ledger(context) as ledger:
            return _through_ledger(context, target.run_id, order, ledger, known, settings, on_update)
    except StateError as error:
        on_update(PanicUpdate(run_id=target.run_id, text=f"{error.message}; trying by its folder"))
        return _by_folder(context, target, known, error)
    except Exception as error:  # Whatever it is: the other runs go on, and this one is told of as unconfirmed.
        return unconfirmed(target, told=str(error) or type(error).__name__)


def end_and_tell(context: Context, run: str, *, now: bool, on_update: OnPanic) -> PanicEntry:
    """End one run, with a checkpoint or (`now`) at once, and say what is left of it: `tunefare stop` for a screen.

    Args:
        context: surroundings.
        run: id or its unique beginning.
        now: kill the task at once, without a checkpoint.
        on_update: called from this thread for whatever is learnt.

    Raises:
        UsageError: no such run.
        StateError: the ledger cannot be used.
    """
    order = _Stop(detail="tunefare stop --now" if now else "tunefare stop", now=now, wait_s=STOP_WAIT_S)
    with open_ledger(context) as ledger, engines() as known:
        run_id = ledger.resolve(run)
        return _through_ledger(context, run_id, order, ledger, known, supervise_settings(context), on_update)


def unconfirmed(target: PanicTarget, *, told: str) -> PanicEntry:
    """A run of which nothing is known but that it may be billed."""
    handle = handle_of(target.run_dir)
    by_hand = () if handle is None else commands_by_hand(handle, None)
    return PanicEntry(
        run_id=target.run_id,
        state=target.state,
        is_gone=False,
        told=told,
        evidence=None,
        cost_usd=None,
        commands=(_reconcile(target.run_id), *by_hand),
    )


def handle_of(run_dir: Path) -> Handle | None:
    """Where a run is, from its folder alone; None where nothing of a launch is in it."""
    name = run_dir.name
    if (run_dir / ATTEMPT_FILE).exists():
        # A folder whose name no cluster can have was not launched through SkyPilot.
        with suppress(EngineError):
            return Handle(engine="sky", run_dir=str(run_dir), name=cluster_name(name), details={"run_id": name})
    if (run_dir / PID_FILE).exists():
        return Handle(engine="local", run_dir=str(run_dir.resolve()), name=name, details={})
    return None


def _through_ledger(
    context: Context,
    run_id: str,
    order: _Stop,
    ledger: Ledger,
    known: Mapping[str, Engine],
    settings: SuperviseSettings,
    on_update: OnPanic,
) -> PanicEntry:
    def tell(update: Update) -> None:
        text = _words(update)
        if text is not None:
            on_update(PanicUpdate(run_id=run_id, text=text))

    trouble: TunefareError | None = None
    try:
        record = stop(
            run_id,
            ledger,
            known,
            context.clock,
            tell,
            detail=order.detail,
            now=order.now,
            wait_s=order.wait_s,
            settings=settings,
        )
    except StateError:
        raise
    except TunefareError as error:
        trouble, record = error, ledger.run(run_id)
    client = ledger.client(run_id)
    is_alive = ledger.client_lives(run_id, context.clock())
    return _entry(record, client if is_alive else None, trouble)


def _entry(record: RunRecord, client: Client | None, trouble: TunefareError | None) -> PanicEntry:
    evidence = record.evidence[-1] if record.evidence else None
    is_gone = record.state in FINAL
    if is_gone:
        told = "nothing had been started" if evidence is None else _answer(evidence)
    elif trouble is not None:
        told = trouble.message
    elif client is not None:
        who = f"process {client.pid} on {client.host}"
        told = f"{who}, which supervises it, does not end it: still {str(record.state).replace('_', ' ')}"
    else:
        told = "the provider was not asked" if evidence is None else _answer(evidence)
    commands: tuple[str, ...] = ()
    if not is_gone:
        kill = () if client is None else (f"kill -9 {client.pid}",)
        by_hand = () if record.handle is None else commands_by_hand(record.handle, evidence)
        commands = (*kill, _reconcile(record.run_id), *by_hand)
    return PanicEntry(
        run_id=record.run_id,
        state=record.state,
        is_gone=is_gone,
        told=told,
        evidence=evidence,
        cost_usd=record.cost_usd,
        commands=commands,
    )


def _by_folder(
    context: Context, target: PanicTarget, known: Mapping[str, Engine], error: StateError | None
) -> PanicEntry:
    """Without the ledger: what the engine finds by the run's folder is taken down; nothing of it is written down."""
    handle = handle_of(target.run_dir)
    entry = unconfirmed(target, told=error.message if error else "nothing is known of a launch")
    if handle is None:
        return entry
    engine = known[handle.engine]
    evidence: Evidence = engine.evidence(handle)
    if not evidence.confirmed:
        engine.down(handle)
        evidence = engine.evidence(handle)
    told = f"{_answer(evidence)}; the ledger does not know of it yet"
    commands = () if evidence.confirmed else (*commands_by_hand(handle, evidence), _reconcile(target.run_id))
    return replace(entry, is_gone=evidence.confirmed, told=told, evidence=evidence, commands=commands)


def _reconcile(run_id: str) -> str:
    return f"tunefare reconcile {run_id} --end"


def _answer(evidence: Evidence) -> str:
    return f"{evidence.answer} ({evidence.source})"


def _words(update: Update) -> str | None:
    match update:
        case StateUpdate(change=change):
            return str(change.state).replace("_", " ")
        case EvidenceUpdate(evidence=evidence):
            return f"{'gone' if evidence.confirmed else 'not confirmed yet'}: {_answer(evidence)}"
        case LogUpdate(source="manager", text=text):
            return text
        case _:
            return None


def price_of(record: RunRecord) -> Decimal | None:
    """Dollars per hour of the machine taken, or of the one that is being launched."""
    choice = record.plan.choice
    offer = record.offer or (None if choice is None else choice.offer)
    return None if offer is None else offer.price_usd_per_hour
