"""The first line of every screen: which screens there are, by which keys, and which one this is."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual.events import Click
from textual.widget import Widget

from tui.actions import ACTIONS

_GAP = 2


class TabsLine(Widget):
    """`1 Plan  2 Run ...`; the current one stands in brackets too, so that no colour is needed."""

    DEFAULT_CSS = """
    TabsLine { height: 1; background: $panel; color: $foreground; }
    """

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def render(self) -> RenderResult:
        """One line of names."""
        line = Text(no_wrap=True, overflow="crop")
        line.append("tunefare", style="bold")
        for name, label in self._labels():
            is_current = name == self._current
            line.append(" " * (_GAP - 1 if is_current else _GAP))
            line.append(f"[{label}]" if is_current else label, style="bold reverse" if is_current else "")
            if is_current:
                line.pad_right(0)
        return line

    async def on_click(self, event: Click) -> None:
        """The mouse may choose a screen too."""
        column = len("tunefare")
        for name, label in self._labels():
            column += _GAP
            if column - 1 <= event.x <= column + len(label):
                await self.app.run_action(f"app.show('{name}')")
                return
            column += len(label) + (1 if name == self._current else 0) - (1 if name == self._current else 0)

    def _labels(self) -> list[tuple[str, str]]:
        found = []
        for action in ACTIONS:
            if action.call is not None and action.call.startswith("app.show("):
                key = self.app.get_key_display(action.binding())
                found.append((action.id.partition(".")[2], f"{key} {action.label}"))
        return found
