"""What all screens share: the line of screens, the line of money, the footer, and slow work in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize, ScreenResume
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from tui.threads import Failed
from tui.widgets.money_line import MoneyLine
from tui.widgets.tabs_line import TabsLine
from tui.widgets.too_small import TooSmall

if TYPE_CHECKING:
    from manager.service.context import Context
    from tui.app import TunefareApp


class BaseScreen(Screen[None]):
    """A screen with a number key; subclasses give SCOPE, BINDINGS (`bindings(SCOPE)`) and `compose_body`."""

    DEFAULT_CSS = """
    BaseScreen { layers: default over; }
    """
    SCOPE: ClassVar[str]
    """Of its actions in `tui.actions`; also its name among the application's modes."""

    @property
    def tunefare(self) -> TunefareApp:
        """The application."""
        return cast("TunefareApp", self.app)

    @property
    def context(self) -> Context:
        """State folder, settings and clock."""
        return self.tunefare.context

    def compose(self) -> ComposeResult:
        """The frame, and the body of the subclass within."""
        yield TabsLine(self.SCOPE)
        yield MoneyLine()
        with Container(id="body"):
            yield from self.compose_body()
        yield Footer(show_command_palette=False)
        yield TooSmall()

    def compose_body(self) -> ComposeResult:
        """What this screen shows."""
        yield from ()

    def in_thread(self, job: Callable[[], Message], *, group: str) -> None:
        """Run slow work in a thread; the message that it returns is posted to this screen, the newest of a group only.

        Args:
            job: touches no widget; its TunefareError, or any other exception, is posted as `Failed`.
            group: work that overtakes each other.
        """
        self.tunefare.threads.start(self, job, group=group)

    def is_busy(self, group: str) -> bool:
        """Whether work of this group still runs."""
        return self.tunefare.threads.is_busy(self, group)

    @on(Resize)
    def _judge_size(self, event: Resize) -> None:
        self.query_one(TooSmall).judge(event.size)

    @on(ScreenResume)
    def _renew_money(self) -> None:
        for line in self.query(MoneyLine):
            line.look()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        message.stop()
        self.on_failed(message)

    def on_failed(self, message: Failed) -> None:
        """What is done about work that ended with an error; the error screen, unless a subclass knows better."""
        self.tunefare.fail(message.error)
