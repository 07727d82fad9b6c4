"""The screen Plan: what is asked for on the left, what it costs on the right."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.events import ScreenResume

from tui.actions import action_named, bindings
from tui.screens.plan.form import RunForm
from tui.screens.plan.form_actions import FormActions
from tui.screens.plan.offers import OfferPane

_EDITING = "-editing"


class PlanScreen(FormActions):
    """Form and offers; where the terminal is narrow, the one that is used."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS: ClassVar = [
        *bindings("plan"),
        dataclasses.replace(action_named("offers.launch").binding(), priority=True),
        Binding("tab", "app.focus_next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", show=False, priority=True),
    ]
    """The launch is asked for from within the form too; letters behind a Tab belong to the next field."""
    CSS_PATH: ClassVar = [
        "../../styles/plan.tcss",
        "../../styles/form.tcss",
        "../../styles/offers.tcss",
    ]
    AUTO_FOCUS = "OfferPane DataTable"
    """A field with the focus would take number keys for text."""

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        with Horizontal(id="panes"):
            yield RunForm()
            yield OfferPane()

    @property
    def offers(self) -> OfferPane:
        """The right pane."""
        return self.query_one(OfferPane)

    def action_edit(self) -> None:
        """Show the form, and put the cursor into it; at once where it can be seen: the next key is meant for it."""
        self.add_class(_EDITING)
        if self.form.display:
            super().action_edit()
        else:
            self.call_after_refresh(super().action_edit)

    def action_leave_form(self) -> None:
        """Back to the offers; single keys are commands again."""
        self.remove_class(_EDITING)
        self.call_after_refresh(self.offers.view.table.rows.focus)

    def action_launch(self) -> None:
        """Launch the choice of a plan that has heard of every key."""
        if not self._is_behind():
            self.offers.action_launch()

    def _is_behind(self) -> bool:
        """Whether the offers have not heard of the last key; says so."""
        is_so = self.form.is_behind or self.tunefare.threads.is_busy(self.form, "check")
        if is_so:
            self.notify("What was typed last is not planned yet; try again in a moment.")
        return is_so

    @on(RunForm.SpecChanged)
    def _spec_changed(self, event: RunForm.SpecChanged) -> None:
        self.offers.ask(event.spec)

    @on(RunForm.SpecInvalid)
    def _spec_invalid(self, event: RunForm.SpecInvalid) -> None:
        key, problem = next(iter(event.problems.items()))
        named = problem if not key or problem.startswith(key) else f"{key}: {problem}"
        self.offers.withdraw(f"the run file cannot be planned: {named}")

    @on(OfferPane.FixChosen)
    def _fix_chosen(self, event: OfferPane.FixChosen) -> None:
        draft = self.form.draft
        for key, value in event.changes:
            draft = draft.set(key, "" if value is None else str(value))
        self.form.show(draft, told="changed as the fix says")

    @on(OfferPane.LaunchAsked)
    def _launch_asked(self, event: OfferPane.LaunchAsked) -> None:
        if self._is_behind():
            return
        from tui.screens.launch import LaunchDialog  # Loaded when it is first asked for.

        self.app.push_screen(LaunchDialog(event.plan))

    @on(ScreenResume)
    def _resumed(self) -> None:
        """Budgets, prices, settings or what own runs teach may have changed on another screen."""
        if self.offers.shown is not None:
            self.offers.ask_again()
