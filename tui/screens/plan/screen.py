"""The screen Plan: what is asked for on the left, what it costs on the right."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from tui.actions import bindings
from tui.screens.plan.form import RunForm
from tui.screens.plan.form_actions import FormActions


class PlanScreen(FormActions):
    """Form and offers."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS = bindings("plan")
    CSS_PATH: ClassVar = ["../../styles/form.tcss"]
    AUTO_FOCUS = ""
    """A field with the focus would take number keys for text."""

    def compose_body(self) -> ComposeResult:
        """Two panes; below each other where the terminal is narrow."""
        with Horizontal(id="panes"):
            yield RunForm()
