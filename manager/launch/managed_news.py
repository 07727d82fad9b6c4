"""What there is to tell of a managed job's machines: that one is gone, and that the run goes on with another.

Pure. SkyPilot counts a recovery only of a task that it has seen at work: a machine that is lost before that is replaced
too, while the job is still told to be starting. So both are read: SkyPilot's count, and the machines that were up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from manager.launch.engine import MachineNews, MachineState, MachineTime
from manager.launch.managed_answers import CANCELLING, RECOVERING, managed_state
from manager.launch.managed_record import ManagedRecord
from manager.units import format_duration, format_usd


def news_of(record: ManagedRecord, answer: dict[str, Any]) -> tuple[ManagedRecord, list[MachineNews]]:
    """What was not told yet, each thing once, and the record with it told.

    Args:
        record: of the job, with the machines of this answer.
        answer: the worker's, to `managed_job`.
    """
    job, state = answer["job"], managed_state(answer)
    if job is None:
        return record, []
    news: list[MachineNews] = []
    up = [one for one in record.machines if one.from_s in record.up_from_s]
    # Some may have come up and gone while nobody looked.
    had = up if len(up) > job["recoveries"] else record.machines
    is_starting = state is MachineState.STARTING
    is_recovering = job["status"] == RECOVERING
    is_lost = is_recovering or (is_starting and bool(up) and up[-1].to_s is not None)
    if is_lost and not record.loss_told:
        words = f"{_gone(had, was_seen=is_recovering)}; SkyPilot looks for another, from whose start the run goes on"
        news.append(MachineNews(words=words))
        record = replace(record, loss_told=True)
    # A job that was ended while its task was starting goes on with no machine.
    goes_on = state in {MachineState.RUNNING, MachineState.SUCCEEDED} and job["status"] != CANCELLING
    replaced = max(job["recoveries"], len(up) - 1 if goes_on else 0)
    if replaced > record.recoveries_told and not is_starting:
        words = _recovered(record, had, replaced, was_seen=bool(job["recoveries"]))
        news.append(MachineNews(words=words))
        record = replace(record, recoveries_told=replaced, loss_told=False)
    return record, news


def _recovered(record: ManagedRecord, had: Sequence[MachineTime], replaced: int, *, was_seen: bool) -> str:
    missed = replaced - record.recoveries_told
    before = "" if record.loss_told else f"{_gone(had[:-1], was_seen=was_seen)}; "
    times = f"{missed} times " if missed > 1 else ""
    return f"{before}recovered {times}({replaced} in all): goes on with {_named(had[-1]) if had else 'a machine'}"


def _gone(machines: Sequence[MachineTime], *, was_seen: bool) -> str:
    """That the last of them is gone; `was_seen`: after SkyPilot had seen the task at work."""
    what = "preempted" if was_seen else "lost before SkyPilot saw the task begin"
    if not machines:
        return what
    last = machines[-1]
    after = "" if last.to_s is None else f" after {format_duration(last.to_s - last.from_s)}"
    return f"{what}: {_named(last)} is gone{after}"


def _named(machine: MachineTime) -> str:
    place = machine.zone or machine.region or "an unknown place"
    price = "price unknown" if machine.price_usd_per_hour is None else f"{format_usd(machine.price_usd_per_hour)}/h"
    return f"{machine.instance_type or 'a machine'} in {machine.cloud} {place}, spot, {price}"
