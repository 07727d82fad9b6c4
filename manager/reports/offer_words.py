"""An offer and its estimate in words: where, how trained, what it costs; the same for every front end."""

from __future__ import annotations

from manager.planner.moved import age_text
from manager.planner.plan import CostLine, Estimate, HostBytes
from manager.prices.offer import Offer
from manager.units import LEAST_USD, format_bytes, format_hours, format_usd


def machine_words(offer: Offer) -> str:
    """`8 x L40S spot, aws us-east-1`: what, then where; one card without a number."""
    device = offer.devices
    if offer.num_nodes == 1 and offer.accelerator is not None and offer.accelerator_count == 1:
        device = offer.accelerator
    place = " ".join(part for part in (offer.cloud, offer.region) if part)
    return f"{device}{' spot' if offer.use_spot else ''}, {place}"


def how_trained(estimate: Estimate) -> str:
    """`micro-batch 4 x 2 passes, gradient checkpointing, fsdp, bf16`: what was chosen for a machine."""
    parts = []
    if estimate.micro_batch is not None:
        passes = estimate.accumulation or 1
        parts.append(f"micro-batch {estimate.micro_batch}{f' x {passes} passes' if passes > 1 else ''}")
    if estimate.gradient_checkpointing:
        parts.append("gradient checkpointing")
    parts += [part for part in (estimate.sharding, estimate.precision) if part not in (None, "none")]
    if estimate.disk_gib is not None:
        parts.append(f"disk {estimate.disk_gib} GiB")
    if estimate.checkpoint_every_steps is not None:
        parts.append(f"a checkpoint every {estimate.checkpoint_every_steps:,} steps")
    if estimate.preemptions is not None:
        number = estimate.preemptions
        band = f"{_number(number.low)} to {_number(number.high)}"
        parts.append(f"{_number(number.expected)} ({band}) preemptions expected")
    return ", ".join(parts)


def price(offer: Offer) -> str:
    """`$0.80/h`."""
    amount = offer.price_usd_per_hour
    return "price unknown" if amount is None else f"{format_usd(amount)}/h"


def price_basis(offer: Offer) -> str:
    """`$0.80/h from SkyPilot catalog v8/aws, 3 h old (...)`: with what rules noticed in it."""
    from manager.prices.price_rules import RULES  # Deferred: most offers have no flag.

    age = "" if offer.price_age_s is None else f", {age_text(offer.price_age_s)} old"
    told = "; ".join(RULES.get(flag, flag) for flag in offer.flags)
    return f"{price(offer)} from {offer.price_source}{age}{f' ({told})' if told else ''}"


def line_dollars(line: CostLine) -> str:
    """What a line costs; one that rounds to nothing is not free."""
    is_free = not line.quantity.expected or not line.unit_price_usd
    return format_usd(line.total_usd.expected) if line.total_usd.expected or is_free else LEAST_USD


def line_quantity(line: CostLine) -> str:
    """`3.2 h`, `40.00 GiB`."""
    if line.unit == "h":
        return format_hours(line.quantity.expected)
    return f"{line.quantity.expected:,.2f} {line.unit}"


def host_text(host: HostBytes) -> str:
    """`host's memory: 9.8 GiB (8.1 GiB to 10.2 GiB) while the model is read: ...`."""
    return (
        f"host's memory: {format_bytes(host.expected)} ({format_bytes(host.low)} to {format_bytes(host.high)}) while "
        f"{host.moment}: {host.basis}"
    )


def _number(expected: float) -> str:
    """Of events that may be rare: two significant digits, `< 0.001` for the least."""
    return "< 0.001" if 0 < expected < 0.001 else f"{expected:.2g}"
