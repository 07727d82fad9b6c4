"""An error over the screen where it happened: what, what to do, and the way back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from manager.errors import TunefareError


class ErrorScreen(ModalScreen[None]):
    """Message and hint; Esc goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "back")]

    def __init__(self, error: TunefareError) -> None:
        super().__init__()
        self.error = error

    def compose(self) -> ComposeResult:
        """The error in words."""
        with Vertical(classes="dialog"):
            yield Static(f"error: {self.error.message}", classes="error", markup=False)
            if self.error.hint:
                yield Static(f"hint: {self.error.hint}", markup=False)
            yield Static("Esc: back", classes="dim", markup=False)
