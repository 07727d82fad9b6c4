"""Check what tunefare needs on this machine, without changing anything but an empty state folder."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from manager import __version__
from manager.config import without_password
from manager.errors import TunefareError, how_to_install
from manager.launch.local import missing_to_train
from manager.launch.sky_check import SkyCheck, check_sky
from manager.planner.moved import age_text
from manager.prices.kubernetes import KUBERNETES
from manager.prices.local import LOCAL, detect_device
from manager.prices.slurm import SLURM
from manager.prices.sources import gather_market
from manager.runs.database import now_of
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.preflight_account import OLD_PRICE_S
from manager.service.run_list import run_summaries
from manager.service.watch_install import installed
from manager.service.watch_loop import unsafe, watch_status
from manager.units import format_bytes, format_duration

_SAME_CLOCK_S = 5.0
_OWN = frozenset({LOCAL, SLURM, KUBERNETES})
"""Their prices are the user's own, and hold until the user says otherwise."""
OK = "ok"
MISSING = "missing"
ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: str
    """`ok`, `missing` (works without, with less) or `error`."""
    detail: str
    hint: str | None = None


def examine(context: Context) -> list[Check]:
    """Look at everything; no check keeps another from being made."""
    return [
        Check(name="tunefare", state=OK, detail=f"{__version__}, Python {platform.python_version()}"),
        _state_folder(context),
        _ledger(context),
        _watcher(context),
        _training_libraries(),
        _device(),
        _prices(context),
        *_skypilot(context),
    ]


def _state_folder(context: Context) -> Check:
    try:
        context.home.ensure()
    except TunefareError as error:
        return Check(name="state folder", state=ERROR, detail=error.message, hint=error.hint)
    return Check(name="state folder", state=OK, detail=str(context.home.root))


def _ledger(context: Context) -> Check:
    if not context.has_ledger:
        return Check(name="ledger", state=OK, detail="no run yet")
    try:
        where = _where_shared(context)
        runs = run_summaries(context)
        billing = [run.run_id for run in runs if run.may_bill and not run.has_client]
    except TunefareError as error:
        return Check(name="ledger", state=ERROR, detail=error.message, hint=error.hint)
    if billing:
        return Check(
            name="ledger",
            state=ERROR,
            detail=f"{where}{len(runs)} runs, {len(billing)} may still be billed and have no client: "
            f"{', '.join(billing)}",
            hint="run `tunefare reconcile`",
        )
    return Check(name="ledger", state=OK, detail=f"{where}{len(runs)} runs, none left behind by its client")


def _where_shared(context: Context) -> str:
    """`postgresql://ann@db/tunefare as ann@laptop, ` and by how much the clocks differ; empty for a file."""
    if context.ledger_url is None:
        return ""
    with open_ledger(context) as ledger:
        ahead_s = context.clock() - ledger.look(lambda db: now_of(db, 0.0))
        clocks = "" if abs(ahead_s) < _SAME_CLOCK_S else f" (this machine's clock differs by {ahead_s:+.0f} s)"
        return f"{ledger.place} as {context.user}{clocks}, "


def _watcher(context: Context) -> Check:
    """Nobody has to watch where no run can be billed; what is started by cron lives only while it looks."""
    found, started = watch_status(context), installed(context)
    looked = "" if found.looked_at_s is None else f", looked last {_ago(context, found.looked_at_s)}"
    is_late = found.is_late(context.clock(), is_installed=started is not None)
    if is_late or found.error is not None:
        late = "it is late" if started is None else f"it is late, though {started.how} is to start it"
        why = "; ".join(word for word in (late if is_late else None, found.error) if word)
        hint = "read watch.log in the state folder; `tunefare watch --install` starts it again"
        return Check(name="watcher", state=ERROR, detail=f"{why}{looked}", hint=hint)
    if left := unsafe(found):
        return Check(
            name="watcher",
            state=ERROR,
            detail=f"it saw what may be billed without anybody's care{looked}: {'; '.join(left)}",
            hint="`tunefare watch --once` looks again and tries to mend it; `tunefare panic` ends everything",
        )
    if found.is_running or started is not None:
        how = "" if started is None else f", started by {started.how}"
        return Check(name="watcher", state=OK, detail=f"{'at work' if found.is_running else 'at rest'}{how}{looked}")
    return Check(
        name="watcher",
        state=MISSING,
        detail=f"nobody looks after runs whose client dies{looked}",
        hint="`tunefare watch --install` has the system do it",
    )


def _ago(context: Context, at_s: float) -> str:
    return f"{format_duration(max(0.0, context.clock() - at_s))} ago"


def _training_libraries() -> Check:
    missing = missing_to_train()
    if missing:
        return Check(
            name="training here",
            state=MISSING,
            detail=f"not installed: {', '.join(missing)}",
            hint=f"to train on this machine: {how_to_install('local')}",
        )
    return Check(name="training here", state=OK, detail="torch, transformers, accelerate, peft are installed")


def _device() -> Check:
    device = detect_device()
    if device.accelerator is not None:
        return Check(name="device", state=OK, detail=f"{device.accelerator_count} x {device.name}")
    cores = f"{device.logical_cores} cores" if device.physical_cores is None else f"{device.physical_cores} cores"
    memory = f"{format_bytes(device.available_memory_bytes)} of {format_bytes(device.memory_bytes)} free"
    return Check(name="device", state=OK, detail=f"no GPU; {device.name}, {cores}, {memory}")


def _prices(context: Context) -> Check:
    try:
        market = gather_market(
            catalogs=context.config.catalogs,
            home=context.user_home,
            now_s=context.clock(),
            good_copies=context.home.prices_dir,
        )
    except TunefareError as error:
        return Check(name="prices", state=ERROR, detail=error.message, hint=error.hint)
    clouds = sorted({rental.cloud for rental in market.rentals})
    offers = sum(len(rental.quotes) for rental in market.rentals)
    found = f"{offers:,} offers: {', '.join(clouds)}"
    ages_s = [(r.cloud, r.price_age_s) for r in market.rentals if r.price_age_s is not None and r.cloud not in _OWN]
    old = sorted({cloud for cloud, age_s in ages_s if age_s > OLD_PRICE_S})
    if old:
        age = age_text(max(age_s for _, age_s in ages_s))
        return Check(
            name="prices",
            state=MISSING,
            detail=f"{found}; up to {age} old: {', '.join(old)}",
            hint="; ".join(("bring today's: `tunefare prices --refresh`", *market.notes)),
        )
    return Check(name="prices", state=OK, detail=found, hint="; ".join(market.notes) or None)


def _skypilot(context: Context) -> list[Check]:
    checked = check_sky()
    found = [_sky(context, checked)]
    if checked.managed is not None:
        state = OK if checked.managed.can else MISSING
        found.append(Check(name="spot runs", state=state, detail=checked.managed.text, hint=checked.managed.hint))
    return found


def _sky(context: Context, checked: SkyCheck) -> Check:
    if checked.problem is not None:
        return Check(name="SkyPilot", state=MISSING, detail=checked.problem, hint=checked.hint)
    clouds = "not known before the first launch" if checked.clouds is None else ", ".join(checked.clouds)
    where = "" if checked.endpoint is None else f" at {without_password(checked.endpoint)}"
    is_at_rest = checked.api_server == "unhealthy" and checked.api_server_is_local
    server = "at rest (the first launch starts it)" if is_at_rest else f"{checked.api_server}{where}"
    detail = f"{checked.version}, API server {server}, clouds: {clouds}"
    if checked.api_server_is_local is False:
        bucket = context.config.text("bucket")
        if not bucket:
            return Check(
                name="SkyPilot",
                state=MISSING,
                detail=f"{detail}; it is on another machine, from which results cannot be fetched",
                hint="name a bucket, from which they come home: tunefare config set bucket s3://NAME",
            )
        detail += f"; it is on another machine, so that results come home through {bucket}"
    return Check(name="SkyPilot", state=OK, detail=detail)
