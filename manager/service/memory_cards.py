"""The accelerators of a memory answer: which there are, which is meant, and what each is said to cost."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.accelerators import Accelerator, accelerator, accelerator_names
from manager.errors import UsageError
from manager.planner.machine import refusal_of
from manager.prices.offer import Offer
from manager.service.context import Context
from manager.service.market import read_market
from manager.workload.memory_answer import MemoryAnswer
from manager.workload.profile import WorkloadProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMemory:
    """The step on one kind of card."""

    name: str
    memory_bytes: float
    micro_batch: int | None
    """The smallest that takes as few passes a step as the largest that fits; None: not even one sample fits."""
    answer: MemoryAnswer
    """At that micro-batch, else at one sample."""
    refusal: str | None
    """Why the training program does not run there; None: it does."""


def gathered_offers(context: Context) -> tuple[Offer, ...]:
    """All offers that a plan would judge."""
    return tuple(read_market(context).offers())


def offered_cards(offers: Sequence[Offer], asked: Accelerator | None) -> list[Accelerator]:
    """Known GPUs that are offered, and the one that was asked for, by memory."""
    names = {offer.accelerator for offer in offers if offer.accelerator is not None}
    found = {card.name: card for name in names if (card := accelerator(name)) is not None and card.kind == "gpu"}
    if asked is not None:
        found[asked.name] = asked
    return sorted(found.values(), key=lambda card: (card.memory_bytes, card.name))


def asked_card(name: str, offers: Sequence[Offer]) -> Accelerator:
    """The accelerator of this name, in any known spelling.

    Raises:
        UsageError: nobody knows it, or it is none.
    """
    if name.casefold() == "cpu":
        raise UsageError(
            "memory is answered for accelerators", hint="`tunefare plan --on local` tells what a run needs on a CPU"
        )
    offered = {card.name.casefold(): card.name for card in offered_cards(offers, None)}
    card = accelerator(offered.get(name.casefold(), name))
    if card is not None:
        return card
    kind, colon, count = name.rpartition(":")
    if colon and count.isdigit() and accelerator(offered.get(kind.casefold(), kind)) is not None:
        raise UsageError(f"--gpu names one card, not {name!r}", hint=f"write --gpu {kind} --devices {count}")
    known = {**{row.casefold(): row for row in accelerator_names()}, **offered}
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    listing = f"known: {', '.join(sorted(known.values(), key=str.casefold))}, and other spellings (A6000, tpu-v5e)"
    hint = f"did you mean {known[near[0]]}? {listing}" if near else listing
    raise UsageError(f"there is no accelerator {name!r}", hint=hint)


def card_refusal(profile: WorkloadProfile, card: Accelerator, offers: Sequence[Offer], *, replicas: int) -> str | None:
    """Why a plan refuses so many devices of this card everywhere that it is offered; None: somewhere it runs."""
    clouds = dict.fromkeys(offer.cloud for offer in offers if offer.accelerator == card.name) or {"local": None}
    refusals = [refusal_of(profile, card, cloud=cloud, replicas=replicas) for cloud in clouds]
    return None if None in refusals else refusals[0]


def chosen_card(cards: Sequence[CardMemory], asked: Accelerator | None, share: int) -> CardMemory:
    """The one that was asked for, else the smallest on which the share runs at once, else at all; else the largest.

    Raises:
        UsageError: there is none.
    """
    if asked is not None:
        return next(card for card in cards if card.name == asked.name)
    usable = [card for card in cards if card.refusal is None]
    if not usable:
        raise UsageError("no price source names an accelerator that can run this", hint="name one, such as --gpu L4")
    whole = (card for card in usable if card.micro_batch == share)
    part = (card for card in usable if card.micro_batch is not None)
    return next(whole, None) or next(part, usable[-1])


def cheapest_usd_per_hour(offers: Sequence[Offer], name: str) -> Decimal | None:
    """The lowest on-demand price of one such card; None where nobody offers it."""
    prices = [
        offer.price_usd_per_hour / Decimal(repr(offer.accelerator_count))
        for offer in offers
        if offer.accelerator == name
        and offer.price_usd_per_hour is not None
        and not offer.use_spot
        and offer.accelerator_count >= 1
    ]
    return min(prices, default=None)
