"""A data set as text and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.service.data_preview import DataPreview
from manager.service.data_words import label_lines, length_sentences, sizes

_LEAST = 14
"""Characters that a short column keeps beside a long one."""


def print_preview(preview: DataPreview, console: Console) -> None:
    """Sizes, lengths, labels, first samples, what the user should know."""
    console.print(f"{escape(preview.source)}: {sizes(preview)}")
    for sentence in length_sentences(preview):
        console.print(escape(sentence))
    if preview.labels is not None:
        console.print()
        for line in label_lines(preview):
            console.print(escape(line))
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
