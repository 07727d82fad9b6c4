"""The screen Budgets."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class BudgetsScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "budgets"
