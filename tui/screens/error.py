"""An error over the screen where it happened: what, what to do, what was kept, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from manager.errors import InternalError, TunefareError
from manager.service.failures import details_of, keep_details
from tui.actions import bindings

if TYPE_CHECKING:
    from tui.app import TunefareApp

KEPT = "Nothing is lost: what you typed is kept, and runs that were started go on by themselves."


class ErrorScreen(ModalScreen[None]):
    """Message, hint, what was kept; no traceback: that of a defect lies in a file."""

    SCOPE: ClassVar[str] = "error"
    BINDINGS = bindings("error")
    CSS_PATH = "../styles/error.tcss"

    def __init__(self, error: TunefareError, *, kept: str = KEPT, retry: Callable[[], object] | None = None) -> None:
        """
        Args:
            error: what is told.
            kept: what the user need not fear for.
            retry: does again what has failed; None: that cannot be done from here.
        """
        super().__init__()
        self.error = error
        self._kept = kept
        self._retry = retry

    def compose(self) -> ComposeResult:
        """The error in words."""
        with VerticalScroll(classes="dialog"):
            yield Static(f"error: {self.error.message}", classes="error", markup=False)
            if self.error.hint:
                yield Static(f"hint: {self.error.hint}", markup=False)
            if isinstance(self.error, InternalError):
                yield Static(self._where(), markup=False)
            yield Static(self._kept, classes="dim", markup=False)
            yield Footer(show_command_palette=False)

    def action_back(self) -> None:
        """Back to where it happened."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the details through the terminal."""
        self.app.copy_to_clipboard(details_of(self.error))
        self.notify("The details are on the clipboard, where the terminal allows it.")

    def action_retry(self) -> None:
        """Back, and once more."""
        retry = self._retry
        self.dismiss()
        if retry is not None:
            self.app.call_later(retry)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What cannot be tried again is not offered."""
        return action != "retry" or self._retry is not None

    def _where(self) -> str:
        file = keep_details(cast("TunefareApp", self.app).context, self.error.__cause__ or self.error)
        return "details: could not be written" if file is None else f"details: {file}"
