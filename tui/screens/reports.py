"""The screen Reports."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class ReportsScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "reports"
