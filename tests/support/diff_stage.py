"""Plans with figures that no estimator has to make, so that what is shown of them never moves with it; and git
repositories with two versions of a run file."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from manager.planner.plan import CostLine, Estimate, Plan
from manager.spec.model import Budget, Where
from manager.units import GIB, Interval, MoneyInterval, usd
from manager.workload.memory_answer import MEMORY_LINES, MemoryAnswer
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec

_SHARES = (("boot", "0.1"), ("setup", "0.15"), ("training", "0.70"), ("teardown", "0.05"))
CREATED_AT_S = 1_790_000_000.0


def fixed_plan(
    *,
    dollars: str,
    hours: float,
    epochs: float = 3.0,
    batch_size: int = 32,
    machine: str = "L4",
    memory_gib: int = 10,
    max_usd: str | None = None,
    plan_id: str | None = None,
) -> Plan:
    """A plan of one offer that costs so much and takes so long; over the cap, where there is one, it is rejected."""
    spec = replace(
        make_spec(epochs=epochs, batch_size=batch_size),
        budget=Budget(max_usd=None if max_usd is None else Decimal(max_usd)),
        where=Where(clouds=("aws",)),
    )
    cost = usd(dollars)
    estimate = _estimate(machine, cost, hours, memory_gib)
    is_over = spec.budget.max_usd is not None and cost > spec.budget.max_usd
    if is_over:
        estimate = replace(estimate, reason=f"over budget: ${cost:.2f} expected, cap ${spec.budget.max_usd}")
    profile = replace(make_profile(spec=spec), steps=round(epochs * 56), parameters=22_713_216)
    profile = replace(profile, trainable_parameters=22_713_216, flops_per_step=1.3e12)
    return Plan(
        plan_id=plan_id or f"{round(cost * 100):06x}{round(hours * 100):06x}",
        created_at_s=CREATED_AT_S,
        spec=spec,
        profile=profile,
        offers=() if is_over else (estimate,),
        chosen=None if is_over else 0,
        rejected=(estimate,) if is_over else (),
        notes=(),
    )


def _estimate(machine: str, cost: Decimal, hours: float, memory_gib: int) -> Estimate:
    price = cost / Decimal(str(hours))
    lines = tuple(_line(name, cost * Decimal(share), hours * float(share), price) for name, share in _SHARES)
    return Estimate(
        offer=replace(make_gpu_offer(machine), price_usd_per_hour=usd(price)),
        fits=True,
        micro_batch=32,
        memory=_memory(memory_gib * GIB),
        hours=_spread(hours),
        training_hours=_spread(hours * 0.7),
        cost_usd=_money(cost),
        lines=lines,
        assumptions=(),
        precision="fp32",
        reason=None,
    )


def _line(name: str, cost: Decimal, hours: float, price: Decimal) -> CostLine:
    return CostLine(
        name=name, quantity=_spread(hours), unit="h", unit_price_usd=price, total_usd=_money(cost), assumption=None
    )


def _spread(hours: float) -> Interval:
    return Interval(low=hours / 2, expected=hours, high=hours * 2)


def _money(cost: Decimal) -> MoneyInterval:
    return MoneyInterval(low=usd(cost / 2), expected=usd(cost), high=usd(cost * 2))


def _memory(total: int) -> MemoryAnswer:
    lines = dict.fromkeys(MEMORY_LINES, 0)
    lines |= {"weights": total // 4, "activations": total - total // 4}
    return MemoryAnswer(
        phase="backward",
        **lines,
        reclaimable_bytes=0,
        training_bytes=total,
        evaluation_bytes=0,
        save_bytes=0,
        host_bytes=0,
        basis="test",
    )


def git(folder: Path, *arguments: str) -> str:
    """Run git, with nothing of this user's or machine's settings."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(folder: Path, message: str) -> str:
    """Commit everything in a folder, which becomes a repository when it is none; gives the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD").strip()
