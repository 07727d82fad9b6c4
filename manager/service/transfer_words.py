"""How far files on their way are, in words for any front end."""

from __future__ import annotations

from manager.runs.updates import TransferUpdate
from manager.units import format_bytes, format_duration


def transfer_share(update: TransferUpdate) -> float:
    """What is there, between 0 and 1."""
    return update.done_bytes / update.of_bytes if update.of_bytes else 1.0


def transfer_words(update: TransferUpdate) -> str:
    """`1.2 GiB of 2.4 GiB  50 %  85 MiB/s  14 s left`; without a rate while nothing has moved."""
    parts = [
        f"{format_bytes(update.done_bytes)} of {format_bytes(update.of_bytes)}",
        f"{100 * transfer_share(update):.0f} %",
    ]
    if update.bytes_per_s:
        parts.append(f"{format_bytes(update.bytes_per_s)}/s")
        if update.done_bytes < update.of_bytes:
            parts.append(f"{format_duration((update.of_bytes - update.done_bytes) / update.bytes_per_s)} left")
    return "  ".join(parts)
