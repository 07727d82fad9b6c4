"""The model of the last recording, kept for the next one of the same request and depth at another batch or length.

A step leaves it as it was before any other than the first step of a run: optimizer state made, gradients gone.
"""

from __future__ import annotations

from tasks.step_trace import TraceRequest
from tasks.tracing.prepared import Prepared, prepare

_kept: list[tuple[TraceRequest, int | None, Prepared]] = []


def take(request: TraceRequest, *, layers: int | None) -> Prepared:
    """The kept model if it is the one, else a new one; it is not kept any more.

    Raises:
        RefusedModel: naming what does not fit.
    """
    while _kept:
        known, depth, prepared = _kept.pop()
        if (known, depth) == (request, layers):
            # Whoever listened has gone.
            prepared._on_weight_copy.clear()
            prepared._on_stash.clear()
            return prepared
    return prepare(request, layers=layers)


def keep(prepared: Prepared, request: TraceRequest, *, layers: int | None) -> None:
    """Keep a model whose step was recorded in good order."""
    _kept[:] = [(request, layers, prepared)]
