"""A question with a few answers, each on a key of its own; Esc is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.actions import bindings


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer."""

    key: str
    text: str
    """What it does, in words."""


class Question(ModalScreen[str | None]):
    """Gives back the key of the answer."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "question"
    BINDINGS = bindings("question")
    """The answers' keys are those of the question, and stand beside them."""

    def __init__(self, text: str, answers: Sequence[Answer], *, lines: Sequence[str] = ()) -> None:
        """
        Args:
            text: the question.
            answers: what may be answered.
            lines: to look at before answering, such as what differs.
        """
        super().__init__()
        self._text = text
        self._answers = tuple(answers)
        self._lines = tuple(lines)

    def compose(self) -> ComposeResult:
        """Question, what to look at, answers."""
        with Vertical(classes="dialog"):
            yield Static(self._text, classes="warning", markup=False)
            if self._lines:
                with VerticalScroll(classes="lines"):
                    yield Static("\n".join(self._lines), markup=False)
            for answer in self._answers:
                yield Static(f"{answer.key}  {answer.text}", markup=False)
            yield Static("Esc: back, nothing is done", classes="dim", markup=False)

    def on_mount(self) -> None:
        """Each answer has its key."""
        for answer in self._answers:
            self._bindings.bind(answer.key, f"answer('{answer.key}')", answer.text)

    def action_answer(self, key: str) -> None:
        """Go back with the answer."""
        self.dismiss(key or None)
