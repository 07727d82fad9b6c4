"""Where a run file is to be saved."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.actions import bindings

_SUFFIXES = (".yaml", ".yml")


class SaveDialog(ModalScreen[Path | None]):
    """Gives back the file; None: Esc."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "saving"
    BINDINGS = bindings("saving")

    def __init__(self, folder: Path, name: str) -> None:
        """
        Args:
            folder: where relative names start.
            name: to begin with.
        """
        super().__init__()
        self._folder = folder
        self._suggested = name

    def compose(self) -> ComposeResult:
        """One line."""
        with Vertical(classes="dialog", id="name"):
            yield Input(self._suggested, placeholder="file name", compact=True)
            yield Static(f"in {self._folder} · Enter: save · Esc: back", classes="dim", markup=False)

    def on_mount(self) -> None:
        """The name is to be typed over."""
        self.query_one("#name").border_title = "Save the run file as"
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Back, nothing is saved."""
        self.dismiss(None)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        typed = event.value.strip()
        if typed:
            name = typed if typed.endswith(_SUFFIXES) else f"{typed}.yaml"
            self.dismiss(self._folder / Path(name).expanduser())
