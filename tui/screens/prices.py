"""The screen Prices."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class PricesScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "prices"
