"""What a step needs of a card's memory, line by line; which cards it fits on, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from manager.catalog.accelerators import Accelerator
from manager.catalog.model_entry import ModelEntry
from manager.catalog.models import check_use, resolve_entry
from manager.errors import DataError, UsageError
from manager.planner.fix_effects import EffectOfFix
from manager.prices.offer import Offer
from manager.profiling.measure import measure_data
from manager.profiling.run_traces import run_traces
from manager.profiling.tracer import trace_for
from manager.service.context import Context
from manager.service.memory_cards import (
    CardMemory,
    asked_card,
    card_refusal,
    cheapest_usd_per_hour,
    chosen_card,
    gathered_offers,
    offered_cards,
)
from manager.service.planning import longest_text
from manager.service.variants import settled
from manager.spec.model import RunSpec
from manager.workload.build import build_profile, even_micro_batch
from manager.workload.fixes import Fix, LargerCard, Question, ladder, recipe_fits
from manager.workload.host_memory import HostNeed, host_need
from manager.workload.memory_answer import MemoryAnswer, fits, largest_micro_batch, memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.profile import WorkloadProfile
from manager.workload.request import trace_request
from manager.workload.traces import RunTraces
from tasks.kinds import TASK_KINDS
from tasks.step_trace import StepTrace

_DEVICE_COUNTS = (2, 4, 8)
_SHORTEST_WAIT_S = 1.0
"""For the trace of a change: in less the tracer does not even start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the step is asked to be laid out."""

    card: str | None = None
    """Accelerator in SkyPilot's spelling; None: the smallest on which the whole batch fits, else one sample."""
    micro_batch: int | None = None
    """Samples of one device per forward pass; None: that of the run file, else the largest that fits."""
    length: int | None = None
    """Longest sample; None: that of the data."""
    placement: Placement | None = None
    """None: one device, or the chips of a TPU slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReport:
    """The answer to `tunefare memory`."""

    spec: RunSpec
    profile: WorkloadProfile
    card: str
    memory_bytes: float
    micro_batch: int
    share: int
    """Samples of one device per optimizer step."""
    length: int
    placement: Placement
    fits: bool
    answer: MemoryAnswer
    cards: tuple[CardMemory, ...]
    """All cards that are offered, by memory."""
    host: HostNeed
    """What the host of all devices needs."""
    fixes: tuple[Fix, ...]
    """What would make it fit; empty when it does."""
    notes: tuple[str, ...] = ()
    """What the user should know of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The step that is asked about, apart from the card and the micro-batch."""

    profile: WorkloadProfile
    traces: RunTraces
    placement: Placement
    share: int
    length: int
    offers: Sequence[Offer]

    def answer(self, card: str, micro_batch: int) -> MemoryAnswer:
        return memory_of(
            self.traces.cuda,
            batch=micro_batch,
            length=self.length,
            device=memory_device(card),
            rank=self.traces.rank,
            optimizer=self.profile.optimizer,
            placement=self.placement,
            accumulates=micro_batch < self.share,
        )

    def on(self, card: Accelerator) -> CardMemory:
        largest = largest_micro_batch(
            self.traces.cuda,
            limit=self.share,
            memory_bytes=card.memory_bytes,
            length=self.length,
            device=memory_device(card.name),
            rank=self.traces.rank,
            optimizer=self.profile.optimizer,
            placement=self.placement,
        )
        micro_batch = None if largest is None else even_micro_batch(self.share, largest)
        return CardMemory(
            name=card.name,
            memory_bytes=card.memory_bytes,
            micro_batch=micro_batch,
            answer=self.answer(card.name, micro_batch or 1),
            refusal=card_refusal(self.profile, card, self.offers, replicas=self.placement.replicas),
        )


def memory_report(
    context: Context,
    spec: RunSpec,
    layout: Layout,
    *,
    offers: Sequence[Offer] | None = None,
    tell: Callable[[str], None] | None = None,
) -> MemoryReport:
    """Memory of the job's training step, of evaluation and of saving.

    Args:
        context: surroundings.
        spec: the job.
        layout: how the step is laid out.
        offers: what can be rented; None: it is read.
        tell: is told of work that takes long, before it is done.

    Raises:
        DataError: model or data cannot be used.
        UsageError: an accelerator that nobody knows, a batch that cannot be shared so, a length that cannot be.
    """
    context.home.ensure()
    spec = settled(spec)
    entry = resolve_entry(spec.model.source, spec.model.revision)
    check_use(entry, task=spec.task, max_length=longest_text(spec))
    _check_length(spec, entry, layout.length)
    offers = gathered_offers(context) if offers is None else offers
    asked = None if layout.card is None else asked_card(layout.card, offers)
    placement = layout.placement or _own_placement(asked)
    share = _share(spec.training.batch_size, placement)
    _check_micro_batch(layout.micro_batch, share)
    timeout_s, cache_dir = float(context.config.number("measure_timeout_s")), context.home.cache_dir
    data = measure_data(spec, cache_dir=cache_dir, timeout_s=timeout_s)
    labels = len(data.labels)
    traces = run_traces(
        spec, entry, data=data, has_cpu_offers=False, cache_dir=cache_dir, timeout_s=timeout_s, tell=tell
    )
    _check_length(spec, entry, layout.length, image_tokens=traces.cuda.image_tokens)
    profile = build_profile(spec, entry, data, traces)
    length = layout.length or profile.peak_length
    step = _Step(profile=profile, traces=traces, placement=placement, share=share, length=length, offers=offers)
    cards = offered_cards(offers, asked)
    shown = tuple(step.on(card) for card in cards)
    chosen = chosen_card(shown, asked, share)
    wanted = layout.micro_batch or profile.asked_micro_batch
    micro_batch = min(wanted, share) if wanted else chosen.micro_batch or share
    answer = step.answer(chosen.name, micro_batch)
    it_fits = fits(answer, chosen.memory_bytes, placement=placement)

    deadline_s = monotonic() + timeout_s

    def trace_of(changed: RunSpec, change: str) -> StepTrace:
        request = trace_request(changed, entry.config, num_labels=labels, target_share=traces.target_share)
        # One limit for all changes: a tracer that is too slow for the first keeps nobody waiting for each of the rest.
        left_s = deadline_s - monotonic()
        return trace_for(
            request,
            cache_dir=cache_dir,
            timeout_s=left_s if left_s >= _SHORTEST_WAIT_S else 0.0,
            tell=None if tell is None else lambda: tell(f"tracing the training step of {entry.name}: {change} ..."),
        )

    return MemoryReport(
        spec=spec,
        profile=profile,
        card=chosen.name,
        memory_bytes=chosen.memory_bytes,
        micro_batch=micro_batch,
        share=share,
        length=length,
        placement=placement,
        fits=it_fits,
        answer=answer,
        cards=shown,
        host=host_need(profile, answer, placement),
        fixes=() if it_fits else _fixes(spec, step, chosen, micro_batch, shown, trace_of),
        notes=(*_notes(chosen, placement), *traces.notes),
    )


def _check_micro_batch(micro_batch: int | None, share: int) -> None:
    if micro_batch is not None and micro_batch > share:
        raise UsageError(
            f"a micro-batch of {micro_batch} is more than the {share} samples that one device has of a batch",
            hint="give a smaller --micro-batch, or raise training.batch_size",
        )


def _fixes(
    spec: RunSpec,
    step: _Step,
    chosen: CardMemory,
    micro_batch: int,
    cards: Sequence[CardMemory],
    trace_of: Callable[[RunSpec, str], StepTrace],
) -> tuple[Fix, ...]:
    traces, placement = step.traces, step.placement
    others = _alternatives(spec, traces, trace_of, devices=placement.devices)
    usable = [card for card in cards if card.refusal is None]
    return ladder(
        Question(
            trace=traces.cuda,
            length=step.length,
            share=step.share,
            micro_batch=micro_batch,
            memory_bytes=chosen.memory_bytes,
            device=memory_device(chosen.name),
            optimizer=step.profile.optimizer,
            placement=placement,
            rank=traces.rank,
        ),
        alternatives=others.traces,
        reasons=others.reasons,
        device_counts=[count for count in _DEVICE_COUNTS if count > placement.replicas],
        larger_cards=[LargerCard(device=memory_device(card.name), memory_bytes=card.memory_bytes) for card in usable],
        effect=EffectOfFix(
            profile=step.profile,
            trace=traces.cuda,
            alternatives=others.traces,
            card=chosen.name,
            placement=placement,
            usd_per_hour=lambda name: cheapest_usd_per_hour(step.offers, name),
            rank=traces.rank,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alternatives:
    """Traces of the recipes that could make the step fit, as far as they can be had here."""

    traces: Mapping[str, StepTrace] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why there is none of the others."""


def _alternatives(
    spec: RunSpec, traces: RunTraces, trace_of: Callable[[RunSpec, str], StepTrace], *, devices: int
) -> _Alternatives:
    training, method = spec.training, spec.method
    changed = {
        "gradient_checkpointing": replace(spec, training=replace(training, gradient_checkpointing=True)),
        "chunked_loss": replace(spec, training=replace(training, loss="chunked")),
        "bf16": replace(spec, training=replace(training, precision="bf16")),
        "lora": replace(spec, method=replace(method, kind="lora")),
        "qlora": replace(spec, method=replace(method, kind="qlora"), training=replace(training, precision="bf16")),
    }
    found: dict[str, StepTrace] = {}
    reasons: dict[str, str] = {}
    names = recipe_fits(traces.cuda)
    for number, name in enumerate(names, start=1):
        if name == "chunked_loss" and spec.task != "causal-lm":
            reasons[name] = f"{spec.task} has no such loss"
            continue
        if name == "chunked_loss" and devices > 1:
            reasons[name] = "the training program slices the loss on one device only"
            continue
        try:
            found[name] = trace_of(changed[name], f"{name.replace('_', ' ')}, change {number} of {len(names)}")
        except DataError as error:
            reasons[name] = str(error).removesuffix(".")
    return _Alternatives(traces=found, reasons=reasons)


def _check_length(spec: RunSpec, entry: ModelEntry, length: int | None, *, image_tokens: int = 0) -> None:
    if length is None:
        return
    unit = TASK_KINDS[spec.task].length
    if unit == "images":
        raise UsageError("images have no length", hint="set training.image_size in the run file")
    limit = entry.max_positions
    if unit == "tokens" and limit is not None and length + image_tokens > limit:
        beside = f" and the {image_tokens:,} of an image" if image_tokens else ""
        raise UsageError(
            f"{entry.name} reads at most {limit:,} tokens, not {length:,}{beside}", hint="give a smaller --length"
        )


def _own_placement(card: Accelerator | None) -> Placement:
    """All chips of a TPU slice, as a plan takes them; else one device."""
    chips = 1 if card is None else card.chips
    return ONE_DEVICE if chips == 1 else Placement(replicas=chips, sharding="ddp")


def _share(batch_size: int, placement: Placement) -> int:
    share, rest = divmod(batch_size, placement.replicas)
    if rest or share == 0:
        raise UsageError(
            f"a batch of {batch_size} samples cannot be shared by {placement.replicas} devices",
            hint="choose a number of devices that divides training.batch_size",
        )
    return share


def _notes(chosen: CardMemory, placement: Placement) -> tuple[str, ...]:
    notes = [] if chosen.refusal is None else [chosen.refusal]
    if placement.cpu_offload or placement.tensor_parallel > 1:
        notes.append("an estimate alone: `tunefare run` shares batches (ddp) or weights too (fsdp), and nothing else")
    return tuple(notes)
