"""Memory of one offer's card by component: what tips it over, and which change would bring the step back and at what
price.

The bar is the estimate's own memory answer, stacked from what no batch changes to what grows with it. A fix is a rung
of the same ladder that `tunefare memory` shows; its dollars are those of the whole job with that change, planned on the
open market, against what can be chosen now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import accumulate
from typing import Any

from manager.errors import TunefareError
from manager.planner.plan import Estimate
from manager.service.context import Context
from manager.service.memory import Layout, memory_report
from manager.service.replanning import PlanSession
from manager.spec.model import RunSpec
from manager.workload.fixes import Fix
from manager.workload.memory_answer import MemoryAnswer
from manager.workload.memory_device import fit_margin
from manager.workload.placement import Placement

_STACK = (
    *("context", "workspace", "weights", "weight_copies", "gradients", "optimizer_state"),
    *("inputs", "activations", "checkpoint_stash", "loss_chain", "temporaries", "allocator_reserve"),
)
"""From what the choice of the model alone decides to what grows with batch and length."""
_RECIPES: dict[str, dict[str, Any]] = {
    "gradient_checkpointing": {"training.gradient_checkpointing": True},
    "chunked_loss": {"training.loss": "chunked"},
    "adamw_8bit": {"training.optimizer": "adamw-8bit"},
    "bf16": {"training.precision": "bf16"},
    "lora": {"method.kind": "lora"},
    "qlora": {"method.kind": "qlora", "training.precision": "bf16"},
    "fsdp": {"training.sharding": "fsdp"},
}
"""Rungs of the ladder that set something in the run file."""
_OTHER_MACHINES = ("fsdp", "larger_card")
_NOT_RUN = ("cpu_offload",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of the memory at its highest moment."""

    name: str
    """`weights`, `optimizer state` ..."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBar:
    """What one device of an offer has to hold, against what it has."""

    key: str
    """Of the offer."""
    device: str
    """Name of the card; `CPU` for a machine without one."""
    capacity_bytes: int
    """Of one device."""
    usable_bytes: int
    """Of which a step may need, with the margin that is kept free."""
    micro_batch: int | None
    """With which it was judged; None: the least of this run, which does not fit."""
    phase: str
    """Of the highest moment: forward, backward, update, evaluation or saving."""
    components: tuple[Component, ...]
    """In the order in which they are stacked; they add up to `needed_bytes`."""
    needed_bytes: int
    """The least in which the step runs."""
    fits: bool
    """As the plan found, which knows of own runs too."""
    tipping: str | None
    """Component with which the stack passes what may be used; None: it does not."""
    largest: str
    """The largest component."""

    @property
    def lacking_bytes(self) -> int:
        """More than may be used; 0 when it fits."""
        return max(0, self.needed_bytes - self.usable_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFix:
    """One change that saves memory."""

    name: str
    """Rung of the ladder."""
    text: str
    """What to change, for people."""
    fits: bool | None
    """None: not estimated."""
    micro_batch: int | None
    needed_bytes: int | None
    saved_bytes: int | None
    """Less than the bar; negative: it needs more."""
    offer: str | None
    """Key of the cheapest offer that carries the job with this change: this machine, or the card that the fix names;
    None: none was found, or the change is no other run file."""
    usd: Decimal | None
    """Expected dollars to the finished job there."""
    added_usd: Decimal | None
    """More than the present choice; negative: saved. None where nothing can be chosen now."""
    hours: float | None
    added_hours: float | None
    reason: str | None
    """Why something of it is not known."""
    changes: tuple[tuple[str, object], ...] = ()
    """Dotted keys of the run file with the values that make this change; empty: it is another machine."""


def memory_bar(estimate: Estimate) -> MemoryBar | None:
    """The bar of an estimate; None where memory was not estimated, or the device's is unknown."""
    offer, answer = estimate.offer, estimate.memory
    capacity = offer.accelerator_memory_bytes or offer.host_memory_bytes
    if answer is None or capacity is None:
        return None
    components = tuple(_components(answer))
    usable = int(capacity * (1 - fit_margin(is_sharded=estimate.sharding == "fsdp").value))
    sums = accumulate(component.size_bytes for component in components)
    over = (component.name for component, total in zip(components, sums, strict=True) if total > usable)
    return MemoryBar(
        key=offer.key,
        device=offer.accelerator or "CPU",
        capacity_bytes=capacity,
        usable_bytes=usable,
        micro_batch=estimate.micro_batch,
        phase=answer.phase,
        components=components,
        needed_bytes=answer.needed_bytes,
        fits=estimate.fits,
        tipping=next(over, None),
        largest=max(components, key=lambda component: component.size_bytes).name,
    )


def _components(answer: MemoryAnswer) -> Iterator[Component]:
    lines = answer.lines()
    lines["allocator_reserve"] -= answer.reclaimable_bytes
    for name in _STACK:
        if lines[name] > 0:
            yield Component(name=name.replace("_", " "), size_bytes=lines[name])


def memory_fixes(
    context: Context,
    session: PlanSession,
    spec: RunSpec,
    estimate: Estimate,
    *,
    tell: Callable[[str], None] | None = None,
) -> tuple[MemoryFix, ...]:
    """What would make the job fit on the card of this offer, each with its dollars; may trace for seconds.

    Args:
        context: surroundings.
        session: whose market and present choice the dollars are compared with.
        spec: the job.
        estimate: of the offer.
        tell: is told of work that takes long, before it is done.

    Raises:
        DataError: model or data cannot be used.
        UsageError: the offer has no accelerator, or the batch cannot be shared by its devices.
    """
    offer = estimate.offer
    layout = Layout(card=offer.accelerator or "cpu", placement=_placement(estimate))
    report = memory_report(context, _as_judged(spec, estimate), layout, offers=session.offers() or None, tell=tell)
    # Where the micro-batch is open the plan has tried smaller ones.
    rungs = [fix for fix in report.fixes if fix.name != "micro_batch" or spec.training.micro_batch is not None]
    pricing = _Pricing(
        session=session,
        spec=spec,
        key=offer.key,
        needed_bytes=None if estimate.memory is None else estimate.memory.needed_bytes,
        choice=next(iter(session.cheapest_with(spec)), None),
    )
    return tuple(pricing.priced(fix) for fix in rungs)


def _as_judged(spec: RunSpec, estimate: Estimate) -> RunSpec:
    """The run with what the plan chose for this machine of what the run file leaves open."""
    training = spec.training
    if estimate.precision is not None:
        training = replace(training, precision=estimate.precision)
    if estimate.gradient_checkpointing is not None:
        training = replace(training, gradient_checkpointing=estimate.gradient_checkpointing)
    return replace(spec, training=training)


def _placement(estimate: Estimate) -> Placement | None:
    """How the plan shares the step; None: one device, or the chips of a TPU slice."""
    offer = estimate.offer
    replicas = max(1, int(offer.accelerator_count)) * offer.num_nodes
    if replicas == 1:
        return None
    return Placement(replicas=replicas, sharding="ddp" if estimate.sharding == "none" else estimate.sharding)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pricing:
    """Plans the job anew for each fix."""

    session: PlanSession
    spec: RunSpec
    key: str
    """Of the offer that is to carry the job."""
    needed_bytes: int | None
    choice: Estimate | None

    def priced(self, fix: Fix) -> MemoryFix:
        """The rung with its dollars to a finished job."""
        changes = _changes(fix)
        found, reason = (None, fix.reason) if fix.fits is not True else self._found(fix, changes)
        needed = None if fix.answer is None else fix.answer.needed_bytes
        usd = None if found is None or found.cost_usd is None else found.cost_usd.expected
        hours = None if found is None or found.hours is None else found.hours.expected
        now, now_hours = self._now()
        return MemoryFix(
            name=fix.name,
            text=fix.text,
            fits=fix.fits,
            micro_batch=fix.micro_batch,
            needed_bytes=needed,
            saved_bytes=None if needed is None or self.needed_bytes is None else self.needed_bytes - needed,
            offer=None if found is None else found.offer.key,
            usd=usd,
            added_usd=None if usd is None or now is None else usd - now,
            hours=hours,
            added_hours=None if hours is None or now_hours is None else hours - now_hours,
            reason=reason,
            changes=tuple(sorted(changes.items())),
        )

    def _now(self) -> tuple[Decimal | None, float | None]:
        choice = self.choice
        if choice is None or choice.cost_usd is None or choice.hours is None:
            return None, None
        return choice.cost_usd.expected, choice.hours.expected

    def _found(self, fix: Fix, changes: Mapping[str, Any]) -> tuple[Estimate | None, str | None]:
        """The cheapest offer with this change, and why it cannot be had, or something of it is not known."""
        if fix.name in _NOT_RUN:
            return None, "the training program does not do this yet"
        changed = _changed(self.spec, changes)
        try:
            if fix.name not in _OTHER_MACHINES:
                found = self.session.find(changed, self.key)
                return found, found.reason
            wish = f"{fix.card}:{fix.placement.replicas}" if fix.name == "fsdp" else fix.card
            where = replace(changed.where, accelerators=(wish,))
            found_at = next(iter(self.session.cheapest_with(replace(changed, where=where))), None)
        except TunefareError as error:
            return None, str(error).removesuffix(".")
        return found_at, None if found_at is not None else f"no offer of {wish} within the limits carries the job"


def _changes(fix: Fix) -> dict[str, Any]:
    """What the fix sets in a run file, by dotted key."""
    if fix.name == "micro_batch":
        return {"training.micro_batch": fix.micro_batch}
    if fix.name == "max_length":
        return {"training.max_length": fix.length}
    return dict(_RECIPES.get(fix.name, {}))


def _changed(spec: RunSpec, changes: Mapping[str, Any]) -> RunSpec:
    training, method = spec.training, spec.method
    for key, value in changes.items():
        part, _, name = key.partition(".")
        if part == "training":
            training = replace(training, **{name: value})
        else:
            method = replace(method, **{name: value})
    return replace(spec, training=training, method=method)
