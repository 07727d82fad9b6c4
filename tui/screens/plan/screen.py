"""The screen Plan: what is asked for on the left, what it costs on the right."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from tui.actions import bindings
from tui.screens.base import BaseScreen


class PlanScreen(BaseScreen):
    """Form and offers."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS = bindings("plan")

    def compose_body(self) -> ComposeResult:
        """Two panes; below each other where the terminal is narrow."""
        yield Horizontal(id="panes")
