"""A data set as text and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.service.data_preview import DataPreview
from manager.units import format_bytes

_MOST_LABELS = 20
_LEAST = 14
"""Characters that a short column keeps beside a long one."""
_BAR = 30
"""Characters of the longest bar."""


def print_preview(preview: DataPreview, console: Console) -> None:
    """Sizes, lengths, labels, first samples, what the user should know."""
    console.print(
        f"{escape(preview.source)}: {preview.train_samples:,} for training, {preview.validation_samples:,} for "
        f"validation, {preview.test_samples:,} for test; {format_bytes(preview.bytes)}"
    )
    _print_lengths(preview, console)
    _print_labels(preview, console)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold", show_lines=False)
    for number, column in enumerate(preview.columns):
        longest = max((len(row[number]) for row in preview.rows), default=0)
        table.add_column(escape(column), overflow="ellipsis", no_wrap=True, min_width=min(longest, _LEAST))
    for row in preview.rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    for warning in preview.warnings:
        console.print(f"note: {escape(warning)}")


def preview_to_json(preview: DataPreview) -> dict[str, Any]:
    """All of it, schema 1."""
    lengths = preview.lengths
    return {
        "schema": 1,
        "source": preview.source,
        "train_samples": preview.train_samples,
        "validation_samples": preview.validation_samples,
        "test_samples": preview.test_samples,
        "bytes": preview.bytes,
        "labels": None
        if preview.labels is None
        else [{"label": name, "samples": count} for name, count in preview.labels],
        "lengths": {
            "unit": lengths.unit,
            "samples": lengths.samples,
            "mean": lengths.mean,
            "quantiles": [{"share": share, "length": value} for share, value in lengths.quantiles],
            "histogram": [{"low": one.low, "high": one.high, "samples": one.samples} for one in lengths.bins],
            "max_length": lengths.max_length,
            "over_max_length": lengths.over_max_length,
        },
        "basis": preview.basis,
        "is_measured": preview.is_measured,
        "columns": list(preview.columns),
        "rows": [list(row) for row in preview.rows],
        "warnings": list(preview.warnings),
    }


def _print_lengths(preview: DataPreview, console: Console) -> None:
    lengths = preview.lengths
    at = dict(lengths.quantiles)
    shown = ", ".join(f"{share:.0%} up to {at[share]:,.4g}" for share in (0.5, 0.9, 0.99) if share in at)
    console.print(f"lengths in {lengths.unit}: mean {lengths.mean:,.1f}, {shown}, longest {at[1.0]:,.4g}")
    if lengths.over_max_length:
        console.print(f"{lengths.over_max_length:.1%} of the samples are longer than max_length {lengths.max_length:,}")
    console.print(f"basis: {escape(preview.basis)}", style="dim")


def _print_labels(preview: DataPreview, console: Console) -> None:
    if preview.labels is None:
        return
    most, total = preview.labels[0][1], sum(count for _, count in preview.labels)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("label", "share", "samples", ""):
        table.add_column(title, justify="right" if title in ("share", "samples") else "left")
    for name, count in preview.labels[:_MOST_LABELS]:
        bar = "█" * max(1, round(_BAR * count / most))
        table.add_row(escape(name), f"{count / total:.1%}", f"{count:,}", bar)
    console.print()
    console.print(table)
    if len(preview.labels) > _MOST_LABELS:
        console.print(f"... and {len(preview.labels) - _MOST_LABELS:,} more labels")
