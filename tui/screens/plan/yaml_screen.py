"""The run file as text, checked as it is typed; Esc goes back to the form, which follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static, TextArea

from tui.actions import actions_of

if TYPE_CHECKING:
    from manager.service.drafts import Draft
    from tui.app import TunefareApp

_DEBOUNCE_S = 0.2
_MOST_SHOWN = 4


class YamlScreen(ModalScreen[str]):
    """Gives back the text."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "yaml"
    # The editor would take Esc for itself.
    BINDINGS: ClassVar = [replace(action.binding(), priority=True) for action in actions_of("yaml")]

    class Checked(Message):
        """What is wrong with the text."""

        def __init__(self, problems: tuple[tuple[int | None, str], ...]) -> None:
            super().__init__()
            self.problems = problems

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft
        self._text = draft.text
        self._is_given_back = False
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The editor, and what is wrong below it."""
        with Vertical(classes="dialog whole", id="yaml"):
            yield TextArea(self._draft.text, show_line_numbers=True, tab_behavior="indent", compact=True, id="text")
            yield Static("checking ...", id="yaml-problems", markup=False)

    def on_mount(self) -> None:
        """Begin at the top."""
        box = self.query_one("#yaml")
        box.border_title = f"{self._draft.title} as YAML"
        box.border_subtitle = "Esc: back to the form, which follows"
        self.query_one(TextArea).focus()
        self._check()

    def action_back(self) -> None:
        """To the form, with the text as it is."""
        self._is_given_back = True
        self.dismiss(self.query_one(TextArea).text)

    def on_unmount(self) -> None:
        """Keep the last keys where the application ends here; else the form goes on with them."""
        if not self._is_given_back:
            from manager.service.kept_drafts import keep_draft

            keep_draft(cast("TunefareApp", self.app).context, self._draft.with_text(self._text))

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        self._text = event.text_area.text
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_DEBOUNCE_S, self._check)

    def _check(self) -> None:
        app = cast("TunefareApp", self.app)
        draft, context = self._draft.with_text(self._text), app.context
        from manager.service.kept_drafts import keep_draft, keeping_turn  # Loaded with the first draft.

        turn = keeping_turn()

        def check() -> Message:
            keep_draft(context, draft, turn=turn)
            return self.Checked(draft.line_problems())

        app.threads.start(self, check, group="yaml")

    @on(Checked)
    def _tell(self, event: Checked) -> None:
        lines = [f"✗ line {line}: {text}" if line else f"✗ {text}" for line, text in event.problems]
        more = [f"... and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
        shown = self.query_one("#yaml-problems", Static)
        shown.update("\n".join(lines[:_MOST_SHOWN] + more) or "✓ can be planned")
        shown.set_class(bool(lines), "error")
