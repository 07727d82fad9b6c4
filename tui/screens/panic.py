"""Panic; not drawn yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import ModalScreen

if TYPE_CHECKING:
    pass


class PanicDialog(ModalScreen[None]):
    """Not drawn yet."""
