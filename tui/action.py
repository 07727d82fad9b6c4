"""Action: one thing that a user can do, with its key and the command that does the same."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

PARTS = {"offers": "plan"}
"""Scopes that are a part of a screen -> the screen's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that a user can do."""

    id: str
    """`scope.name`; the user's own keys name it so."""
    key: str
    """Textual's spelling; several are separated by commas."""
    label: str
    """One or two words for the footer."""
    text: str
    """One sentence for help and palette."""
    command: str | None = None
    """The command line that does the same; None where it moves within the screen alone."""
    is_shown: bool = True
    """In the footer."""
    call: str | None = None
    """Textual's action; None: the name after the dot."""

    @property
    def screen(self) -> str:
        """Scope of the screen; of actions that are on several, their own."""
        return PARTS.get(self.scope, self.scope)

    @property
    def scope(self) -> str:
        """The screen or widget that it belongs to."""
        return self.id.partition(".")[0]

    def binding(self) -> Binding:
        """As Textual wants it; `set_keymap` finds it by its id."""
        return Binding(
            self.key,
            self.call or self.id.partition(".")[2],
            self.label,
            show=self.is_shown,
            id=self.id,
            tooltip=self.text,
        )
