"""Evaluate: rows to outcomes, through recipes, traces and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.step_trace import StepTrace
from tests.bench.published.predict import predicted, traced_request
from tests.bench.published.ran_out import as_if_measured, predicted_fit, ran_out_of_memory
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
        except Exception as error:  # Tables hold anything; one odd row must not end a run over thousands.
            refused[place] = f"the row cannot be read: {type(error).__name__}: {error}"[:160]
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
    fits = _fits_of_failed([row for row in rows if ran_out_of_memory(row)], traces)
    return [
        by_row.get(id(row))
        or Outcome(row=row, memory_refusal=refused[place], time_refusal=refused[place], predicted_fit=fits.get(id(row)))
        for place, row in enumerate(rows)
    ]


def _fits_of_failed(failed: Sequence[Row], traces: Traces) -> dict[int, bool]:
    """Whether the product says that runs fit which ran out of memory; rows that cannot be judged are left out."""
    as_if_read = [as_if_measured(row) for row in failed]
    places = {id(copy): id(row) for row, copy in zip(failed, as_if_read, strict=True)}
    found, _ = traced_rows(as_if_read, traces)
    answers = {places[id(one.recipe.row)]: predicted_fit(one.recipe, one.trace) for one in found}
    return {place: answer for place, answer in answers.items() if answer is not None}


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
