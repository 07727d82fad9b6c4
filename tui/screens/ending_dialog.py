"""What the dialogs share that end runs: news from a process that ends them, an error, commands to copy.

Owns no question: what is asked before an end, and what is ended, are the subclass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from textual import on
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from manager.errors import TunefareError
from manager.service.failures import error_text
from manager.service.panic_report import PanicUpdate
from tui.threads import Failed

if TYPE_CHECKING:
    from tui.app import TunefareApp

END = "end"
"""Group of the thread that follows an end."""
Result = TypeVar("Result")


class Told(Message):
    """Something was learnt of a run."""

    def __init__(self, update: PanicUpdate) -> None:
        super().__init__()
        self.update = update


class EndingDialog(ModalScreen[Result]):
    """A dialog that ends runs."""

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type where an end is not confirmed."""
        return ()

    @property
    def is_ending(self) -> bool:
        """Whether something is being ended now."""
        return self.tunefare.threads.is_busy(self, END)

    def post(self, update: PanicUpdate) -> None:
        """From the thread that follows; nothing once the dialog is left."""
        if self.is_running:
            self.post_message(Told(update))

    def fail(self, error: TunefareError) -> None:
        """Say an error in the dialog."""
        raise NotImplementedError

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        self.fail(message.error)

    def say(self, where: str, text: str, *, kind: str = "") -> None:
        """Put a text into one of the dialog's lines."""
        line = self.query_one(where, Static)
        line.update(text)
        line.set_classes(kind)

    def say_error(self, where: str, error: TunefareError) -> None:
        """An error with its hint."""
        self.say(where, error_text(error), kind="error")

    def action_copy(self) -> None:
        """What to type, through the terminal."""
        self.app.copy_to_clipboard("\n".join(self.commands))
        self.notify("The commands are on the clipboard, where the terminal allows it.")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands can be copied once there are some."""
        return action != "copy" or bool(self.commands)
