"""What a change of recipe or machine does to hours and dollars of training, against what was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.accelerators import accelerator
from manager.units import SECONDS_PER_HOUR
from manager.workload.efficiencies import software
from manager.workload.fixes import Effect, Fix
from manager.workload.link import link_of
from manager.workload.placement import Placement
from manager.workload.profile import WorkloadProfile
from manager.workload.roofline import UntimedWorkError, step_seconds
from manager.workload.speed import speed_of
from tasks.step_trace import StepTrace

_OTHER_TRACES = ("gradient_checkpointing", "chunked_loss", "bf16", "lora", "qlora")
_UNTIMED = ("cpu_offload",)
"""The bus and the host's optimizer would set the pace; no rate of either is known here."""
_OPTIMIZER_OF_FIX = {"adamw_8bit": "adamw-8bit"}
_NODE_DEVICES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectOfFix:
    """Judges rungs of the ladder; called once per rung that fits."""

    profile: WorkloadProfile
    trace: StepTrace
    """Of the recipe as it was asked for."""
    alternatives: Mapping[str, StepTrace]
    card: str
    placement: Placement
    usd_per_hour: Callable[[str], Decimal | None]
    """Price of one card of a name; None: unknown."""
    rank: int | None

    def __call__(self, fix: Fix) -> Effect | None:
        """More hours and dollars for all steps, were there memory enough before; None where that is not known."""
        trace = self.alternatives.get(fix.name) if fix.name in _OTHER_TRACES else self.trace
        if trace is None or fix.micro_batch is None or fix.name in _UNTIMED:
            return None
        share = self._share(self.placement)
        mean = self.profile.mean_step_length(share * self.placement.replicas)
        asked = self.profile.optimizer
        before = self._hours(self.trace, self.card, self.placement, share, mean, asked)
        mean = self.profile.mean_step_length(fix.micro_batch * fix.placement.replicas)
        optimizer = _OPTIMIZER_OF_FIX.get(fix.name, asked)
        # Samples that a shorter max_length cuts are as long as it; the others keep their length, at most the mean.
        after = self._hours(trace, fix.card, fix.placement, fix.micro_batch, min(mean, fix.length), optimizer)
        if before is None or after is None:
            return None
        return Effect(hours=after - before, usd=self._usd(fix, before, after))

    def _usd(self, fix: Fix, before: float, after: float) -> float | None:
        old, new = self.usd_per_hour(self.card), self.usd_per_hour(fix.card)
        if old is None or new is None:
            return None
        return after * float(new) * fix.placement.devices - before * float(old) * self.placement.devices

    def _share(self, placement: Placement) -> int:
        return max(1, self.profile.batch_size // placement.replicas)

    def _hours(
        self, trace: StepTrace, card: str, placement: Placement, micro_batch: int, length: float, optimizer: str
    ) -> float | None:
        """Hours of all optimizer steps."""
        known = accelerator(card)
        speed = None if known is None else speed_of(known, software=software("eager"))
        if known is None or speed is None:
            return None
        share = self._share(placement)
        passes = math.ceil(share / micro_batch)
        try:
            step = step_seconds(
                trace,
                speed,
                batch=share / passes,
                length=length,
                micro_batches=passes,
                replicas=placement.replicas,
                link=link_of(known, family=speed.family, devices=placement.devices, devices_per_node=_NODE_DEVICES),
                sharding="fsdp" if placement.is_sharded else "ddp",
                tensor_parallel=placement.tensor_parallel,
                rank=self.rank or 0,
                optimizer=optimizer,
            )
        except UntimedWorkError:
            return None
        return step.total_s * self.profile.steps / SECONDS_PER_HOUR
