"""Evaluate: rows to outcomes, through recipes, traces and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.step_trace import StepTrace
from tests.bench.published.predict import predicted, traced_request
from tests.bench.published.recipe import Recipe, recipe_of
from tests.bench.published.report import Outcome
from tests.bench.published.rows import Row
from tests.bench.published.traces import Traces
from tests.bench.published.words import NotExpressible


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A recipe and the trace that stands for it."""

    recipe: Recipe
    trace: StepTrace


def traced_rows(rows: Sequence[Row], traces: Traces) -> tuple[list[Traced], dict[int, str]]:
    """Recipes with their traces, and the reason by position for rows without."""
    recipes: dict[int, Recipe] = {}
    refused: dict[int, str] = {}
    for place, row in enumerate(rows):
        try:
            recipes[place] = recipe_of(row)
        except NotExpressible as error:
            refused[place] = str(error)
    requests = {place: traced_request(recipe) for place, recipe in recipes.items()}
    traces.prepare(requests.values())
    found: list[Traced] = []
    for place, request in requests.items():
        trace = traces.trace(request)
        if isinstance(trace, str):
            refused[place] = trace
        else:
            found.append(Traced(recipe=recipes[place], trace=trace))
    return found, refused


def outcomes_of(rows: Sequence[Row], traces: Traces) -> list[Outcome]:
    """One outcome per row, in their order."""
    found, refused = traced_rows(rows, traces)
    by_row = {id(one.recipe.row): _outcome(one) for one in found}
    return [
        by_row.get(id(row)) or Outcome(row=row, memory_refusal=refused[place], time_refusal=refused[place])
        for place, row in enumerate(rows)
    ]


def _outcome(one: Traced) -> Outcome:
    recipe, answer = one.recipe, predicted(one.recipe, one.trace)
    return Outcome(
        row=recipe.row,
        measured_memory=recipe.memory.value if recipe.memory else None,
        predicted_memory=answer.memory,
        measured_rate=recipe.rate.value if recipe.rate else None,
        predicted_rate=answer.rate,
        memory_refusal=answer.memory_refusal,
        time_refusal=answer.time_refusal,
    )
