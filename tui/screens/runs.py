"""The screen Runs."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class RunsScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "runs"
