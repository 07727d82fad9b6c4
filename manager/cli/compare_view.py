"""Offers, or runs, side by side, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.planner.codec import estimate_to_json
from manager.planner.plan import Estimate
from manager.reports.offer_compare import DIFFERS, ComparedRow, compare_offers

COMPARE_JSON_VERSION = 1


def print_compared(estimates: Sequence[Estimate], console: Console) -> None:
    """Print a row for each property and cost line, a column for each offer."""
    print_side_by_side(compare_offers(estimates), [estimate.offer.title for estimate in estimates], console)


def print_side_by_side(rows: Sequence[ComparedRow], titles: Sequence[str], console: Console) -> None:
    """Print rows in their groups; a sign beside the name where the columns differ."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in titles:
        table.add_column(escape(title), overflow="fold")
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            table.add_row(f"[bold]{group}[/bold]")
        table.add_row(f"{row.sign} {row.name}", *(escape(cell) for cell in row.cells))
    console.print(table)
    console.print(f"{DIFFERS}: they differ", style="dim")


def compared_to_json(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """The same, machine-readable, with the whole estimates."""
    return {
        "schema": COMPARE_JSON_VERSION,
        "rows": rows_to_json(compare_offers(estimates)),
        "offers": [estimate_to_json(estimate) for estimate in estimates],
    }


def rows_to_json(rows: Sequence[ComparedRow]) -> list[dict[str, Any]]:
    """Rows side by side, machine-readable."""
    return [{"group": row.group, "name": row.name, "cells": list(row.cells), "differs": row.differs} for row in rows]
