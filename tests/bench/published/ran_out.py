"""Runs that ran out of memory: no figure to compare with, but the product has to say that they do not fit."""

from __future__ import annotations

from dataclasses import replace

from manager.catalog.accelerators import accelerator
from manager.workload.memory_answer import fits
from tasks.step_trace import StepTrace
from tests.bench.published.predict import memory_answer
from tests.bench.published.recipe import Recipe
from tests.bench.published.rows import Row
from tests.bench.published.words import has


def ran_out_of_memory(row: Row) -> bool:
    """Whether the row says that the run ended for want of memory."""
    return has(r"^(yes|oom|out of memory|true|1$)", row.text("oom"))


def as_if_measured(row: Row) -> Row:
    """The same recipe with a peak as torch reads it, so that memory is asked for."""
    changed = {"oom": "", "peak_memory_gb": "1000", "peak_memory_unit": "GiB", "memory_metric": "torch max reserved"}
    return replace(row, cells={**row.cells, **changed, "notes": ""}, has_stand_in_figures=True)


def predicted_fit(recipe: Recipe, trace: StepTrace) -> bool | None:
    """Whether the product says that it fits; None where memory or the device is not known."""
    card = accelerator(recipe.accelerator or "")
    if recipe.memory is None or card is None:
        return None
    return fits(memory_answer(recipe, trace), card.memory_bytes)
