"""The second line of every screen: what is left, what is billed now."""

from __future__ import annotations

from textual.widgets import Static


class MoneyLine(Static):
    """One line of money."""

    DEFAULT_CSS = """
    MoneyLine { height: 1; background: $panel; color: $foreground; }
    """
