"""The newest lines of a run's log: they follow the end until somebody scrolls up, and again from the last line on."""

from __future__ import annotations

from collections.abc import Iterable

from textual.events import Resize
from textual.widgets import Log


class RunLog(Log):
    """A log that keeps to its end also when its height changes."""

    follows = True
    """Whether new lines move it."""

    def add(self, lines: Iterable[str]) -> None:
        """Lines at the end."""
        self.write_lines(lines, scroll_end=False)
        self.keep_end()

    def replace(self, lines: Iterable[str]) -> None:
        """Other lines in place of all."""
        self.clear()
        self.follows = True
        self.add(lines)

    def keep_end(self) -> None:
        """Show the last line, unless somebody reads further up."""
        if self.follows:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def on_resize(self, event: Resize) -> None:
        """Also with more or less room."""
        self.call_after_refresh(self.keep_end)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Upwards means to read, at the end means to follow."""
        super().watch_scroll_y(old_value, new_value)
        if new_value != old_value:
            self.follows = self.is_vertical_scroll_end
