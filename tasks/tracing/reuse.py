"""The models of the last recordings, kept for the next one of the same request and depth at another batch or length.

A step leaves it as it was before any other than the first step of a run: optimizer state made, gradients gone.
"""

from __future__ import annotations

from tasks.step_trace import TraceRequest
from tasks.tracing.prepared import Prepared, prepare

_MOST = 2
"""The model itself, and one of few layers."""

_kept: list[tuple[TraceRequest, int | None, Prepared]] = []


def take(request: TraceRequest, *, layers: int | None) -> Prepared:
    """The kept model if it is the one, else a new one; it is not kept any more.

    Raises:
        RefusedModel: naming what does not fit.
    """
    for at, (known, depth, prepared) in enumerate(_kept):
        if (known, depth) == (request, layers):
            del _kept[at]
            # Whoever listened has gone.
            prepared._on_weight_copy.clear()
            prepared._on_stash.clear()
            return prepared
    return prepare(request, layers=layers)


def keep(prepared: Prepared, request: TraceRequest, *, layers: int | None) -> None:
    """Keep a model whose step was recorded in good order."""
    _kept[:] = [*_kept, (request, layers, prepared)][-_MOST:]
