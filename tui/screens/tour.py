"""Tour; not drawn yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.app import TunefareApp


def start_tour(app: TunefareApp) -> None:
    """Not there yet."""
