"""What a step needs of a card's memory, line by line; which cards it fits on, and what would make it fit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from manager.catalog.accelerators import Accelerator, accelerator
from manager.catalog.models import resolve_entry
from manager.errors import DataError, UsageError
from manager.planner.fix_effects import EffectOfFix
from manager.prices.local import detect_device
from manager.prices.offer import Offer
from manager.prices.sources import gather_offers
from manager.profiling.measure import measure_data
from manager.profiling.run_traces import run_traces
from manager.profiling.tracer import trace_for
from manager.service.context import Context
from manager.spec.model import RunSpec
from manager.workload.build import build_profile, even_micro_batch
from manager.workload.fixes import Fix, LargerCard, Question, ladder, recipe_fits
from manager.workload.memory_answer import MemoryAnswer, fits, largest_micro_batch, memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.profile import WorkloadProfile
from manager.workload.request import trace_request
from manager.workload.traces import RunTraces
from tasks.step_trace import StepTrace

_DEVICE_COUNTS = (2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the step is asked to be laid out."""

    card: str | None = None
    """Accelerator in SkyPilot's spelling; None: the smallest on which the whole batch fits, else the largest."""
    micro_batch: int | None = None
    """Samples of one device per forward pass; None: that of the run file, else the device's share of the batch."""
    length: int | None = None
    """Longest sample; None: that of the data."""
    placement: Placement = ONE_DEVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMemory:
    """The step on one kind of card."""

    name: str
    memory_bytes: float
    micro_batch: int | None
    """The largest that fits, at most the share of the batch; None: not even one sample fits."""
    answer: MemoryAnswer
    """At that micro-batch, else at one sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReport:
    """The answer to `tunefare memory`."""

    spec: RunSpec
    profile: WorkloadProfile
    card: str
    memory_bytes: float
    micro_batch: int
    length: int
    placement: Placement
    fits: bool
    answer: MemoryAnswer
    cards: tuple[CardMemory, ...]
    """All cards that are offered, by memory."""
    fixes: tuple[Fix, ...]
    """What would make it fit; empty when it does."""


def memory_report(context: Context, spec: RunSpec, layout: Layout) -> MemoryReport:
    """Memory of the job's training step, of evaluation and of saving.

    Raises:
        DataError: model or data cannot be used.
        UsageError: an accelerator that nobody knows, or a batch that cannot be shared so.
    """
    context.home.ensure()
    entry = resolve_entry(spec.model.source, spec.model.revision)
    timeout_s = float(context.config.number("measure_timeout_s"))
    cache_dir = context.home.cache_dir
    data = measure_data(spec, cache_dir=cache_dir, timeout_s=timeout_s)
    traces = run_traces(
        spec,
        entry,
        num_labels=len(data.labels),
        has_cpu_offers=False,
        cache_dir=cache_dir,
        timeout_s=timeout_s,
    )
    profile = build_profile(spec, entry, data, traces)
    offers = _offers(context)
    cards = _cards(offers, layout.card)
    share = _share(profile, layout.placement)
    length = layout.length or profile.peak_length
    shown = tuple(_card_memory(card, traces, profile, layout.placement, share, length) for card in cards)
    chosen = _chosen(shown, layout.card, share)
    micro_batch = min(layout.micro_batch or profile.asked_micro_batch or share, share)
    answer = _answer(chosen.name, traces, profile, layout.placement, micro_batch, share, length)
    it_fits = fits(answer, chosen.memory_bytes)
    question = Question(
        trace=traces.cuda,
        length=length,
        share=share,
        micro_batch=micro_batch,
        memory_bytes=chosen.memory_bytes,
        device=memory_device(chosen.name),
        placement=layout.placement,
        rank=traces.rank,
    )
    fixes: tuple[Fix, ...] = ()
    if not it_fits:

        def trace_of(changed: RunSpec) -> StepTrace:
            request = trace_request(changed, entry.config, num_labels=len(data.labels))
            return trace_for(request, cache_dir=cache_dir, timeout_s=timeout_s)

        alternatives = _alternatives(spec, traces, trace_of)
        fixes = ladder(
            question,
            alternatives=alternatives,
            device_counts=[count for count in _DEVICE_COUNTS if count > layout.placement.replicas],
            larger_cards=[
                LargerCard(device=memory_device(card.name), memory_bytes=card.memory_bytes) for card in cards
            ],
            effect=EffectOfFix(
                profile=profile,
                trace=traces.cuda,
                alternatives=alternatives,
                accelerator=_known(chosen.name),
                usd_per_hour=_cheapest(offers, chosen.name),
                share=share,
                rank=traces.rank,
            ),
        )
    return MemoryReport(
        spec=spec,
        profile=profile,
        card=chosen.name,
        memory_bytes=chosen.memory_bytes,
        micro_batch=micro_batch,
        length=length,
        placement=layout.placement,
        fits=it_fits,
        answer=answer,
        cards=shown,
        fixes=fixes,
    )


def _offers(context: Context) -> tuple[Offer, ...]:
    return gather_offers(
        catalogs=context.config.catalogs,
        home=context.user_home,
        now_s=context.clock(),
        local=detect_device(),
        local_price_usd_per_hour=context.config.number("local_price_usd_per_hour"),
        local_price_source="setting",
    ).offers


def _cards(offers: Sequence[Offer], asked: str | None) -> list[Accelerator]:
    """Known GPUs that are offered, and the one that was asked for, by memory."""
    names = {offer.accelerator for offer in offers if offer.accelerator is not None}
    found = {card.name: card for name in names if (card := accelerator(name)) is not None and card.kind == "gpu"}
    if asked is not None:
        card = next((known for name, known in found.items() if name.casefold() == asked.casefold()), None)
        card = card or accelerator(asked)
        if card is None:
            near = difflib.get_close_matches(asked, found, n=1)
            listing = ", ".join(sorted(found)[:25])
            hint = f"did you mean {near[0]}? known: {listing}" if near else f"known: {listing}"
            raise UsageError(f"there is no accelerator {asked!r}", hint=hint)
        found[card.name] = card
    return sorted(found.values(), key=lambda card: (card.memory_bytes, card.name))


def _chosen(shown: Sequence[CardMemory], asked: str | None, share: int) -> CardMemory:
    if asked is not None:
        by_name = {card.name.casefold(): card for card in shown}
        known = accelerator(asked)
        return by_name.get(asked.casefold()) or by_name[(known.name if known else asked).casefold()]
    if not shown:
        raise UsageError("no price source names an accelerator", hint="name one, such as --gpu L4")
    return next((card for card in shown if card.micro_batch == share), shown[-1])


def _share(profile: WorkloadProfile, placement: Placement) -> int:
    share, rest = divmod(profile.batch_size, placement.replicas)
    if rest or share == 0:
        raise UsageError(
            f"a batch of {profile.batch_size} samples cannot be shared by {placement.replicas} devices",
            hint="choose a number of devices that divides training.batch_size",
        )
    return share


def _card_memory(
    card: Accelerator, traces: RunTraces, profile: WorkloadProfile, placement: Placement, share: int, length: int
) -> CardMemory:
    largest = largest_micro_batch(
        traces.cuda,
        limit=share,
        memory_bytes=card.memory_bytes,
        length=length,
        device=memory_device(card.name),
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=placement,
    )
    micro_batch = None if largest is None else even_micro_batch(share, largest)
    answer = _answer(card.name, traces, profile, placement, micro_batch or 1, share, length)
    return CardMemory(name=card.name, memory_bytes=card.memory_bytes, micro_batch=micro_batch, answer=answer)


def _answer(
    card: str,
    traces: RunTraces,
    profile: WorkloadProfile,
    placement: Placement,
    micro_batch: int,
    share: int,
    length: int,
) -> MemoryAnswer:
    return memory_of(
        traces.cuda,
        batch=micro_batch,
        length=length,
        device=memory_device(card),
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=placement,
        accumulates=micro_batch < share,
    )


def _alternatives(
    spec: RunSpec, traces: RunTraces, trace_of: Callable[[RunSpec], StepTrace]
) -> Mapping[str, StepTrace]:
    """Traces of the recipes that could make the step fit, as far as they can be had here."""
    training, method = spec.training, spec.method
    changed = {
        "gradient_checkpointing": replace(spec, training=replace(training, gradient_checkpointing=True)),
        "chunked_loss": replace(spec, training=replace(training, loss="chunked")),
        "bf16": replace(spec, training=replace(training, precision="bf16")),
        "lora": replace(spec, method=replace(method, kind="lora")),
        "qlora": replace(spec, method=replace(method, kind="qlora"), training=replace(training, precision="bf16")),
    }
    found: dict[str, StepTrace] = {}
    for name in recipe_fits(traces.cuda):
        if name == "chunked_loss" and spec.task != "causal-lm":
            continue
        try:
            found[name] = trace_of(changed[name])
        except DataError:
            # A recipe that cannot be traced is listed as not estimated.
            continue
    return found


def _known(name: str) -> Accelerator:
    card = accelerator(name)
    assert card is not None
    return card


def _cheapest(offers: Sequence[Offer], name: str) -> Decimal | None:
    """The lowest on-demand price of one such card."""
    prices = [
        offer.price_usd_per_hour / Decimal(repr(offer.accelerator_count))
        for offer in offers
        if offer.accelerator == name
        and offer.price_usd_per_hour is not None
        and not offer.use_spot
        and offer.accelerator_count >= 1
    ]
    return min(prices, default=None)
