"""The first line of every screen: which screens there are, by which keys, and which one this is."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual.events import Click
from textual.widget import Widget

from tui.actions import APP, actions_of

_NAME = "tunefare"
_SHOWS = "app.show("


class TabsLine(Widget):
    """`1 Plan  2 Run ...`; the current one stands in brackets too, so that no colour is needed."""

    DEFAULT_CSS = """
    TabsLine { height: 1; background: $panel; color: $foreground; }
    """

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def render(self) -> RenderResult:
        """One line of names; without the program's own where there is no room for it."""
        line = Text(no_wrap=True, overflow="crop")
        line.append(self._head, style="bold")
        for name, label in self._labels():
            line.append(label, style="bold reverse" if name == self._current else "")
        return line

    async def on_click(self, event: Click) -> None:
        """The mouse may choose a screen too."""
        column = len(self._head)
        for name, label in self._labels():
            if column <= event.x < column + len(label):
                await self.app.run_action(f"{_SHOWS}'{name}')")
                return
            column += len(label)

    @property
    def _head(self) -> str:
        room = self.size.width - sum(len(label) for _, label in self._labels())
        return f"{_NAME} " if room > len(_NAME) else ""

    def _labels(self) -> list[tuple[str, str]]:
        """Name of each screen and its text, with a character on each side."""
        found = []
        for action in actions_of(APP):
            if action.call is not None and action.call.startswith(_SHOWS):
                name = action.id.partition(".")[2]
                text = f"{self.app.get_key_display(action.binding())} {action.label}"
                found.append((name, f"[{text}]" if name == self._current else f" {text} "))
        return found
