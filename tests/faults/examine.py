"""What is left of a run after a fault and its recovery, held against what must hold for every run."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal

from manager.runs.machine_pieces import NO_MACHINE
from manager.runs.records import RunRecord
from manager.runs.states import FINAL, RunState
from manager.units import SECONDS_PER_HOUR
from tests.faults.stage import Scene, read_run, stored_seqs
from tests.faults.trials import Finding, Trial

GONE_S = 15.0
"""For processes that have been ended to vanish, the command's own included."""


def examine(scene: Scene, trial: Trial, moment_s: float, recovery_codes: list[int]) -> Finding:
    """The finding on a run that should have come to its end."""
    left = _left(scene)
    record = read_run(scene.home)
    assert record is not None, "a run that was in the ledger stays there"
    written = scene.written_seqs(record)
    stored = stored_seqs(scene.home, record.run_id)
    lost = len(set(written) - set(stored))
    doubled = sum(count - 1 for count in Counter(stored).values()) + sum(
        count - 1 for count in Counter(written).values()
    )
    error_s, late_s = _cost_error_s(record), _late_s(scene, record)
    defects = [*_state_defects(record), *([f"left: {', '.join(left)}"] if left else [])]
    if lost or doubled or stored != list(range(len(stored))):
        defects.append(f"events: {lost} lost, {doubled} doubled, {len(stored)} stored of {len(written)}")
    if error_s is not None and error_s > 1:
        defects.append(f"the bill is {error_s:.3f} s off price x time")
    if late_s is not None and not -1 <= late_s <= scene.most_late_s:
        defects.append(f"the bill ends {late_s:.1f} s after the machine was last seen")
    if recovery_codes[-1] != 0:
        defects.append(f"the recovery ended with {recovery_codes}")
    return Finding(
        trial=trial,
        moment_s=moment_s,
        run_id=record.run_id,
        state=str(record.state),
        events=len(written),
        lost=lost,
        doubled=doubled,
        left=left,
        cost_error_s=error_s,
        late_s=late_s,
        defects=tuple(defects),
    )


def missed(scene: Scene, trial: Trial) -> Finding:
    """The run was over before the fault could come."""
    return _empty(scene, trial)


def broken(scene: Scene, trial: Trial, why: str) -> Finding:
    """The trial could not be brought to its end; its fault counts as one that left a defect."""
    return replace(_empty(scene, trial), moment_s=0.0, defects=(why,))


def _empty(scene: Scene, trial: Trial) -> Finding:
    record = read_run(scene.home)
    return Finding(
        trial=trial,
        moment_s=None,
        run_id="" if record is None else record.run_id,
        state="unknown" if record is None else str(record.state),
        events=0,
        lost=0,
        doubled=0,
        left=(),
        cost_error_s=None,
        late_s=None,
        defects=(),
    )


def _left(scene: Scene) -> tuple[str, ...]:
    deadline = time.monotonic() + GONE_S
    while (left := scene.left()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _state_defects(record: RunRecord) -> list[str]:
    if record.state not in FINAL:
        return [f"the run is {record.state}"]
    was_launched = any(change.state is RunState.LAUNCHING for change in record.history)
    if was_launched and not (record.evidence and record.evidence[-1].confirmed):
        return ["no evidence that it is gone"]
    if record.charges and record.cost_usd is None:
        return ["nobody knows what it cost"]
    return []


def _cost_error_s(record: RunRecord) -> float | None:
    """The ledger's sum against price x time, in seconds of this price."""
    if record.billing_ended_at_s is None or record.cost_usd is None or not record.charges:
        return None
    # A launch that never came through took the chosen offer, the first that it asked for.
    choice, cost = record.plan.choice, record.cost_usd
    assert choice is not None, "a run has a chosen offer"
    price = (record.offer or choice.offer).price_usd_per_hour
    assert price is not None, "the price of the stage is known"
    if record.billing_started_at_s is None:
        # Where a full disk refused the launch's own record, the charges alone know that there was a machine.
        had = [one for one in record.charges if one.what != NO_MACHINE]
        billed_s = sum((Decimal(one.to_s) - Decimal(one.from_s) for one in had), Decimal(0))
    else:
        billed_s = Decimal(record.billing_ended_at_s) - Decimal(record.billing_started_at_s)
    return float(abs(cost - price * billed_s / SECONDS_PER_HOUR) / (price / SECONDS_PER_HOUR))


def _late_s(scene: Scene, record: RunRecord) -> float | None:
    seen_s = scene.last_seen_s()
    if seen_s is None or record.billing_ended_at_s is None:
        return None
    return record.billing_ended_at_s - seen_s
