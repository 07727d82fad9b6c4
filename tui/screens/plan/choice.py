"""A field of few values: the arrow keys to the left and right change it, Enter shows them all.

Textual's Select makes a list of its own for each field, which makes a form of many slow to open.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.actions import bindings


class Choice(Widget, can_focus=True):
    """One of several values."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "step(1)", "next", show=False),
        Binding("left", "step(-1)", "previous", show=False),
        Binding("enter,space", "open", "choose", show=False),
    ]

    value: reactive[str] = reactive("")

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self, *, classes: str) -> None:
        super().__init__(classes=classes)
        self.options: tuple[tuple[str, str], ...] = ()
        """Value and words of each."""

    def render(self) -> str:
        """The words, and a sign that there are more."""
        words = dict(self.options).get(self.value, self.value)
        room = self.size.width - 2
        return f"{words[:room]:<{room}} ▾" if room > 0 else words

    def choose(self, value: str) -> None:
        """Take a value as if the user had."""
        if value != self.value:
            self.value = value
            self.post_message(self.Changed(value))

    def action_step(self, step: int) -> None:
        """The next value, round and round."""
        values = [value for value, _ in self.options]
        if values:
            at = values.index(self.value) if self.value in values else -step
            self.choose(values[(at + step) % len(values)])

    def action_open(self) -> None:
        """Show all values."""

        def take(value: str | None) -> None:
            if value is not None:
                self.choose(value)

        self.app.push_screen(ChoiceScreen(self.options, self.value), take)

    @on(Click)
    def _clicked(self) -> None:
        self.action_open()


class ChoiceScreen(ModalScreen[str | None]):
    """Gives back the value that was chosen; None: Esc."""

    CSS_PATH = "../../styles/plan_dialogs.tcss"
    SCOPE: ClassVar[str] = "choice"
    BINDINGS = bindings("choice")

    def __init__(self, options: tuple[tuple[str, str], ...], value: str) -> None:
        super().__init__()
        self._options = options
        self._value = value

    def compose(self) -> ComposeResult:
        """The values."""
        with Vertical(classes="dialog", id="choice"):
            yield OptionList(*(Option(words) for _, words in self._options), compact=True)

    def on_mount(self) -> None:
        """Begin at the present value."""
        self.query_one("#choice").border_subtitle = "Enter: take · Esc: back"
        values = [value for value, _ in self._options]
        self.query_one(OptionList).highlighted = values.index(self._value) if self._value in values else 0

    def action_leave(self) -> None:
        """Back without a choice."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """One value up or down."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._options[event.option_index][0])
