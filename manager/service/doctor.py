"""Check what tunefare needs on this machine, without changing anything but an empty state folder."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from manager import __version__
from manager.errors import TunefareError, how_to_install
from manager.launch.local import missing_to_train
from manager.launch.sky_check import check_sky
from manager.prices.local import detect_device
from manager.prices.sources import gather_market
from manager.service.context import Context
from manager.service.run_list import run_summaries
from manager.units import format_bytes

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
        _training_libraries(),
        _device(),
        _prices(context),
        _sky(),
    ]


def _state_folder(context: Context) -> Check:
    try:
        context.home.ensure()
    except TunefareError as error:
        return Check(name="state folder", state=ERROR, detail=error.message, hint=error.hint)
    return Check(name="state folder", state=OK, detail=str(context.home.root))


def _ledger(context: Context) -> Check:
    if not context.home.ledger_file.exists():
        return Check(name="ledger", state=OK, detail="no run yet")
    try:
        runs = run_summaries(context)
        billing = [run.run_id for run in runs if run.may_bill and not run.has_client]
    except TunefareError as error:
        return Check(name="ledger", state=ERROR, detail=error.message, hint=error.hint)
    if billing:
        return Check(
            name="ledger",
            state=ERROR,
            detail=f"{len(runs)} runs, {len(billing)} may still be billed and have no client: {', '.join(billing)}",
            hint="run `tunefare reconcile`",
        )
    return Check(name="ledger", state=OK, detail=f"{len(runs)} runs, none left behind by its client")


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
    return Check(
        name="prices",
        state=OK,
        detail=f"{offers:,} offers: {', '.join(clouds)}",
        hint="; ".join(market.notes) or None,
    )


def _sky() -> Check:
    checked = check_sky()
    if checked.problem is not None:
        return Check(name="SkyPilot", state=MISSING, detail=checked.problem, hint=checked.hint)
    clouds = "not known before the first launch" if checked.clouds is None else ", ".join(checked.clouds)
    detail = f"{checked.version}, API server {checked.api_server}, clouds: {clouds}"
    return Check(name="SkyPilot", state=OK, detail=detail)
