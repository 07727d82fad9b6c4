"""The screen Settings."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class SettingsScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "settings"
