"""The screen Run."""

from __future__ import annotations

from typing import ClassVar

from tui.screens.base import BaseScreen


class RunScreen(BaseScreen):
    """Not drawn yet."""

    SCOPE: ClassVar[str] = "run"
