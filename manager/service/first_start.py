"""Whether this is a first start; asked at every start, so it loads nothing."""

from __future__ import annotations

import contextlib

from manager.errors import StateError
from manager.service.context import Context


def is_first_start(context: Context) -> bool:
    """Whether nothing was run, typed or toured here before."""
    home = context.home
    has_drafts = home.drafts_dir.is_dir() and any(home.drafts_dir.iterdir())
    return not (home.ledger_file.exists() or home.tour_file.exists() or has_drafts)


def end_tour(context: Context) -> None:
    """Remember that the tour was seen or skipped; where that cannot be written it is offered again."""
    with contextlib.suppress(StateError, OSError):
        context.home.ensure()
        context.home.tour_file.touch(mode=0o600)
