"""One line of the form: label, what is typed or chosen, and beneath it what is wrong with it, in words."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.screens.plan.choice import Choice
from tui.screens.plan.fields import FieldKind
from tui.widgets.line_input import LineInput


class FormField(Widget):
    """A field; it knows the text that it shows and not what that means."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "go(1)", show=False),
        Binding("up", "go(-1)", show=False),
    ]

    class Edited(Message):
        """The user typed or chose something."""

        def __init__(self, key: str, typed: str) -> None:
            super().__init__()
            self.key = key
            self.typed = typed

    class Entered(Message):
        """The user pressed Enter in a field that is typed."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, kind: FieldKind, *, options: tuple[str, ...], default: str) -> None:
        """
        Args:
            kind: key and words.
            options: what may be chosen.
            default: what holds where nothing is typed.
        """
        super().__init__(id=kind.id)
        self.kind = kind
        self._options = options
        self._default = default
        self._shown = ""
        self.control: Any = Choice(classes="control") if kind.is_choice else self._line()
        """What takes the focus."""

    def compose(self) -> ComposeResult:
        """Label and control; what is to be known and what is wrong come when there is something."""
        yield Static(self.kind.label, classes="label", markup=False)
        yield self.control

    @property
    def problem(self) -> str:
        """What is told to be wrong; empty: nothing."""
        return self._line_text("problem")

    @property
    def note(self) -> str:
        """What is told of the value; empty: nothing."""
        return self._line_text("note")

    def action_go(self, step: int) -> None:
        """To the next or the previous field."""
        if step > 0:
            self.screen.focus_next(".control")
        else:
            self.screen.focus_previous(".control")

    def show(self, text: str) -> None:
        """Show the file's text; not told as an edit."""
        if not isinstance(self.control, Choice):
            self._shown = text
            with self.prevent(Input.Changed):
                if self.control.value != text:
                    self.control.value = text
                    # Of what is too long the end is seen: that is where paths differ.
                    self.control.cursor_position = len(text)
            return
        shown = self._shown = text or self._default
        # The file may say what cannot be chosen.
        values = self._options if shown in self._options else (*self._options, shown)
        words = dict(self.kind.words)
        self.control.options = tuple((value, words.get(value, value)) for value in values)
        self.control.value = shown

    def tell_problem(self, problem: str | None) -> None:
        """What is wrong with the value; None: nothing."""
        self._tell("problem", f"✗ {problem}" if problem else "")

    def tell_note(self, note: str) -> None:
        """What is to be known of the value; empty: nothing."""
        self._tell("note", note)

    def _line(self) -> Input:
        hint = self.kind.hint
        if self._default:
            hint = f"{self._default} ({hint})" if hint else self._default
        return LineInput(compact=True, select_on_focus=False, placeholder=hint, classes="control")

    def _tell(self, name: str, text: str) -> None:
        self.set_class(bool(text), f"-has-{name}")
        found = self.query(f".{name}")
        if found:
            found.first(Static).update(text)
        elif text:
            self.mount(Static(text, classes=name, markup=False))

    def _line_text(self, name: str) -> str:
        found = self.query(f".{name}")
        return str(found.first(Static).render()) if found and self.has_class(f"-has-{name}") else ""

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._edit(event.value)

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        self._edit(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(self.kind.key))

    def _edit(self, typed: str) -> None:
        # Texts that were shown come back as changes too; only what differs was typed by someone.
        if typed != self._shown:
            self._shown = typed
            self.post_message(self.Edited(self.kind.key, typed))
