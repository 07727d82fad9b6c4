"""Report: errors of predictions by source, as figures for programs and as a table for people.

Owns the statistics: relative error = predicted / measured - 1 in the row's own unit; a false fit is a peak that was
predicted more than 10 % too low. Headline figures hold complete rows that nobody suspects; rows whose conditions are
partly inferred are summed up beside them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.published.rows import Row

FALSE_FIT = -0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row after prediction."""

    row: Row
    measured_memory: float | None = None
    predicted_memory: float | None = None
    measured_rate: float | None = None
    predicted_rate: float | None = None
    memory_refusal: str = ""
    time_refusal: str = ""
    predicted_fit: bool | None = None
    """Of a run that ran out of memory: whether it was predicted to fit; None: not judged, or it did not run out."""

    @property
    def expressed(self) -> bool:
        """Whether at least one figure of the row was predicted."""
        return self.memory_error is not None or self.time_error is not None

    @property
    def memory_error(self) -> float | None:
        """Relative error of the peak."""
        return _error(self.predicted_memory, self.measured_memory)

    @property
    def time_error(self) -> float | None:
        """Relative error of the rate or the step time."""
        return _error(self.predicted_rate, self.measured_rate)

    @property
    def refusal(self) -> str:
        """Why nothing was predicted."""
        return self.memory_refusal or self.time_refusal or "nothing measured"

    @property
    def is_complete(self) -> bool:
        """Whether the conditions are known well enough for a headline."""
        return self.row.text("confidence") in ("complete", "")


def _error(predicted: float | None, measured: float | None) -> float | None:
    return None if predicted is None or not measured else predicted / measured - 1


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Figures by source and file."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.row.source, outcome.row.table), []).append(outcome)
    return [_group(source, table, members) for (source, table), members in groups.items()]


def _group(source: str, table: str, members: Sequence[Outcome]) -> dict[str, Any]:
    expressed = [outcome for outcome in members if outcome.expressed]
    reasons = Counter(outcome.refusal for outcome in members if not outcome.expressed)
    reasons += _half_expressed(members)
    return {
        "source": source,
        "file": table,
        "rows": len(members),
        "expressed": len(expressed),
        "memory": statistics([error for outcome in members if (error := outcome.memory_error) is not None], fits=True),
        "time": statistics([error for outcome in members if (error := outcome.time_error) is not None], fits=False),
        "unexpressed": dict(reasons.most_common()),
    }


def _half_expressed(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Reasons of the figures that are not predicted in rows whose other figure is, each behind the figure's name."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.expressed and outcome.memory_refusal:
            found[f"memory: {outcome.memory_refusal}"] += 1
        if outcome.expressed and outcome.time_refusal:
            found[f"rate: {outcome.time_refusal}"] += 1
    return found


def statistics(errors: Sequence[float], *, fits: bool) -> dict[str, float | int | None]:
    """Rows, median, 90th percentile and worst of the absolute errors; share of false fits."""
    sizes = sorted(map(abs, errors))
    found: dict[str, float | int | None] = {
        "rows": len(sizes),
        "median": percentile(sizes, 0.5),
        "p90": percentile(sizes, 0.9),
        "worst": sizes[-1] if sizes else None,
    }
    if fits:
        found["false_fits"] = sum(error < FALSE_FIT for error in errors) / len(errors) if errors else None
    return found


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Linear between the nearest ranks, as numpy does."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def table_text(outcomes: Sequence[Outcome]) -> str:
    """A table for people: complete rows by source, all partial rows by source, then totals and what is missing."""
    lines = [
        "Relative errors of predictions against published figures; |error| in %, false fits: predicted > 10 % too low.",
        f"{'source':42} {'rows':>5} {'expr':>5} | {'mem':>4} {'median':>7} {'p90':>6} {'worst':>7} {'false':>6}"
        f" | {'time':>4} {'median':>7} {'p90':>6} {'worst':>7}",
    ]
    for title, wanted in (
        ("complete rows", lambda outcome: outcome.is_complete),
        ("rows with conditions partly inferred, or suspect", lambda outcome: not outcome.is_complete),
    ):
        chosen = [outcome for outcome in outcomes if wanted(outcome)]
        if chosen:
            lines += ["", f"{title}:", *_source_lines(chosen)]
    reasons = Counter(outcome.refusal for outcome in outcomes if not outcome.expressed)
    lines += ["", "Not expressed:", *(f"  {count:5d}  {reason}" for reason, count in reasons.most_common())]
    if halves := _half_expressed(outcomes):
        lines += ["", "Figures not predicted in rows whose other figure is:"]
        lines += [f"  {count:5d}  {reason}" for reason, count in halves.most_common()]
    judged = [outcome.predicted_fit for outcome in outcomes if outcome.predicted_fit is not None]
    if judged:
        lines += ["", f"Runs that ran out of memory: {len(judged)} judged, {judged.count(False)} predicted not to fit."]
    return "\n".join(lines)


def _source_lines(outcomes: Sequence[Outcome]) -> list[str]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.row.source, []).append(outcome)
    return [_line(name, members) for name, members in groups.items()] + [_line("all", list(outcomes))]


def _line(name: str, members: Sequence[Outcome]) -> str:
    group = _group(name, "", members)
    memory, time = group["memory"], group["time"]
    return (
        f"{name[:42]:42} {group['rows']:5d} {group['expressed']:5d} | {memory['rows']:4d} {_percent(memory['median'])} "
        f"{_percent(memory['p90'], 6)} {_percent(memory['worst'])} {_percent(memory['false_fits'], 6)} | "
        f"{time['rows']:4d} {_percent(time['median'])} {_percent(time['p90'], 6)} {_percent(time['worst'])}"
    )


def _percent(value: float | None, width: int = 7) -> str:
    return " " * (width - 1) + "-" if value is None else f"{100 * value:{width}.1f}"


_COLUMNS: tuple[tuple[str, Callable[[Outcome], object]], ...] = (
    ("id", lambda outcome: outcome.row.key),
    ("file", lambda outcome: outcome.row.table),
    ("source", lambda outcome: outcome.row.source),
    ("model", lambda outcome: outcome.row.raw("model")),
    ("method", lambda outcome: outcome.row.raw("method")),
    ("gpu", lambda outcome: outcome.row.raw("gpu")),
    ("confidence", lambda outcome: outcome.row.raw("confidence")),
    ("memory_measured", lambda outcome: outcome.measured_memory),
    ("memory_predicted", lambda outcome: outcome.predicted_memory),
    ("memory_error", lambda outcome: outcome.memory_error),
    ("memory_unit", lambda outcome: outcome.row.raw("peak_memory_unit")),
    ("rate_measured", lambda outcome: outcome.measured_rate),
    ("rate_predicted", lambda outcome: outcome.predicted_rate),
    ("rate_error", lambda outcome: outcome.time_error),
    ("rate_unit", lambda outcome: outcome.row.raw("throughput_unit")),
    ("not_expressed", lambda outcome: "" if outcome.expressed else outcome.refusal),
    ("memory_not_expressed", lambda outcome: outcome.memory_refusal),
    ("time_not_expressed", lambda outcome: outcome.time_refusal),
)


def write_rows(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Each prediction beside its measurement."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([name for name, _ in _COLUMNS])
        for outcome in outcomes:
            writer.writerow([_cell(value(outcome)) for _, value in _COLUMNS])


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
