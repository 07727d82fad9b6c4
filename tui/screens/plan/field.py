"""One line of the form: label, what is typed or chosen, and beneath it what is wrong with it, in words."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Select, Static

from tui.screens.plan.fields import FieldKind


class Choice(Select[str]):
    """A list to choose from, that leaves the arrow keys to the form while it is closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "choose", show=False),
        Binding("down", "go(1)", show=False),
        Binding("up", "go(-1)", show=False),
    ]

    def action_go(self, step: int) -> None:
        """To the next or the previous field."""
        _go(self.screen, step)


class FormField(Vertical):
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

    def __init__(self, kind: FieldKind) -> None:
        super().__init__(id=kind.id)
        self.kind = kind
        self._shown = ""
        self._options: tuple[str, ...] = ()
        self._default = ""

    def compose(self) -> ComposeResult:
        """Label and control, then what is to be known of the value, then what is wrong."""
        with Horizontal(classes="line"):
            yield Static(self.kind.label, classes="label", markup=False)
            if self.kind.is_choice:
                yield Choice([], prompt="", compact=True, classes="control")
            else:
                yield Input(compact=True, select_on_focus=False, placeholder=self.kind.hint, classes="control")
        yield Static(classes="note", markup=False)
        yield Static(classes="problem", markup=False)

    def action_go(self, step: int) -> None:
        """To the next or the previous field."""
        _go(self.screen, step)

    @property
    def control(self) -> Any:
        """What takes the focus."""
        return self.query_one(".control")

    def offer(self, options: tuple[str, ...], default: str) -> None:
        """What may be chosen, and what holds where nothing is typed."""
        control = self.control
        self._default = default
        if isinstance(control, Choice):
            self._set_options(control, options)
        elif default:
            control.placeholder = f"{default}{f' ({self.kind.hint})' if self.kind.hint else ''}"

    def show(self, text: str) -> None:
        """Show the file's text; not told as an edit."""
        control = self.control
        shown = text or self._default if isinstance(control, Choice) else text
        self._shown = shown
        with self.prevent(Input.Changed, Select.Changed):
            if not isinstance(control, Choice):
                if control.value != shown:
                    control.value = shown
                return
            if shown not in self._options:  # The file may say what cannot be chosen.
                self._set_options(control, (*self._options, shown))
            control.value = shown

    def tell_problem(self, problem: str | None) -> None:
        """What is wrong with the value; None: nothing."""
        self.query_one(".problem", Static).update(f"✗ {problem}" if problem else "")
        self.set_class(bool(problem), "-wrong")

    def tell_note(self, note: str) -> None:
        """What is to be known of the value; empty: nothing."""
        self.query_one(".note", Static).update(note)
        self.set_class(bool(note), "-noted")

    def _set_options(self, control: Choice, options: tuple[str, ...]) -> None:
        words = dict(self.kind.words)
        self._options = options
        with self.prevent(Select.Changed):
            control.set_options([(words.get(option, option), option) for option in options])

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._edit(event.value)

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        if isinstance(event.value, str):
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


def _go(screen: Screen[Any], step: int) -> None:
    if step > 0:
        screen.focus_next(".control")
    else:
        screen.focus_previous(".control")
