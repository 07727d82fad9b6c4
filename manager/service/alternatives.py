"""Other ways to the same end: the same data with another method, or with another model of the shipped table.

Owns which there are. Models are taken whose traces ship with the product, so that none is traced for the sake of a
comparison; what a model was trained on (its language, its licence) is not in the table, and not judged here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from manager.catalog.model_table import known_models, table_row
from manager.catalog.models import check_use, resolve_entry
from manager.errors import DataError
from manager.planner.tuning import FROZEN, LORA, SMALLER
from manager.profiling.archive import shipped_precisions, shipped_trace
from manager.service.planning import longest_text
from manager.service.variants import settled
from manager.spec.model import RunSpec
from manager.workload.request import FEWEST_LABELS, trace_request
from tasks.step_trace import TraceRequest

_MOST_SMALLER = 2
_CLEARLY_SMALLER = 0.75
"""Of the size of the next larger one: less of a difference is another edition of the same model."""
_SIZE_WORDS = re.compile(r"^(\d+(\.\d+)?[bmk]|x*large|base|small|medium|tiny|mini|nano|xs|xl|xxl|[lh]-?\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One other job."""

    kind: str
    """frozen, lora or smaller; see `manager.planner.tuning`."""
    spec: RunSpec


def alternatives(spec: RunSpec, *, parameters: int | None) -> list[Alternative]:
    """Cheaper methods for the same model, then at most two smaller models of the same type, large to small.

    Args:
        spec: the job as asked.
        parameters: of its model; None: unknown, then no model is known to be smaller.
    """
    found = []
    if spec.method.kind != FROZEN:
        found.append(Alternative(kind=FROZEN, spec=_with_method(spec, FROZEN)))
    if spec.method.kind in ("full", "gradual"):
        found.append(Alternative(kind=LORA, spec=_with_method(spec, LORA)))
    if parameters is not None:
        found += [Alternative(kind=SMALLER, spec=other) for other in _smaller(spec, parameters)]
    return found


def models_of_task(spec: RunSpec) -> list[tuple[int, str]]:
    """Parameters and id of the models of the table that can be tuned for the task, small to large."""
    rows = ((name, table_row(name)) for name in known_models())
    return sorted((int(row["parameters"]), name) for name, row in rows if row and spec.task in row["tasks"].split(";"))


def on_model(spec: RunSpec, name: str) -> RunSpec | None:
    """The same job on another model; None where it cannot be planned from what ships."""
    other = replace(spec, model=replace(spec.model, source=name, revision=None))
    try:
        check_use(resolve_entry(name), task=spec.task, max_length=longest_text(spec))
        return other if shipped_trace(_request(other)) is not None else None
    except (DataError, OSError, ValueError, KeyError):  # A damaged archive ships nothing.
        return None


def _with_method(spec: RunSpec, kind: str) -> RunSpec:
    """The same job with another method; in another precision, if only that one's trace ships: tracing takes longer
    than all the rest of the answer."""
    other = replace(spec, method=replace(spec.method, kind=kind))
    try:
        request = _request(other)
        if shipped_trace(request) is not None:
            return other
        precisions = shipped_precisions(request)
    except (DataError, OSError, ValueError, KeyError):
        return other  # Planning it says what is wrong.
    if not precisions:
        return other
    return replace(other, training=replace(other.training, precision=precisions[0]))


def _smaller(spec: RunSpec, parameters: int) -> Iterator[RunSpec]:
    """Next smaller models of the same type; among those of a size, the one with the most similar name."""
    try:
        asked = resolve_entry(spec.model.source, spec.model.revision)
    except DataError:
        return
    limit, left = _CLEARLY_SMALLER * parameters, _MOST_SMALLER
    family = [(size, name) for size, name in models_of_task(spec) if _model_type(name) == asked.model_type]
    for size, name in sorted(family, key=lambda one: (-_likeness(asked.name, one[1]), -one[0])):
        other = on_model(spec, name) if size <= limit else None
        if other is None:
            continue
        yield other
        left -= 1
        if not left:
            return
        limit = _CLEARLY_SMALLER * size


def _model_type(name: str) -> str | None:
    row = table_row(name)
    return None if row is None else json.loads(row["config"]).get("model_type")


def _likeness(one: str, other: str) -> float:
    """Of two names without the words for their sizes: 1 for editions that differ in size alone."""
    return SequenceMatcher(None, _without_size(one), _without_size(other)).ratio()


def _without_size(name: str) -> str:
    words = re.split(r"[-_/]", name.lower())
    return " ".join(word for word in words if not _SIZE_WORDS.match(word))


def _request(spec: RunSpec) -> TraceRequest:
    entry = resolve_entry(spec.model.source, spec.model.revision)
    return trace_request(settled(spec), entry.config, num_labels=FEWEST_LABELS)
