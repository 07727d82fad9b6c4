"""Offers side by side, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.planner.codec import estimate_to_json
from manager.planner.plan import Estimate
from manager.reports.offer_compare import DIFFERS, compare_offers

COMPARE_JSON_VERSION = 1


def print_compared(estimates: Sequence[Estimate], console: Console) -> None:
    """Print a row for each property and cost line, a column for each offer."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for estimate in estimates:
        table.add_column(escape(estimate.offer.title), overflow="fold")
    group = ""
    for row in compare_offers(estimates):
        if row.group != group:
            group = row.group
            table.add_row(f"[bold]{group}[/bold]")
        table.add_row(f"{row.sign} {row.name}", *(escape(cell) for cell in row.cells))
    console.print(table)
    console.print(f"{DIFFERS}: they differ", style="dim")


def compared_to_json(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """The same, machine-readable, with the whole estimates."""
    rows = compare_offers(estimates)
    return {
        "schema": COMPARE_JSON_VERSION,
        "rows": [
            {"group": row.group, "name": row.name, "cells": list(row.cells), "differs": row.differs} for row in rows
        ],
        "offers": [estimate_to_json(estimate) for estimate in estimates],
    }
