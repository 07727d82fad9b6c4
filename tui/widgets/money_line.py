"""The second line of every screen: what is left, what is billed now.

Looks at the ledger from a thread every few seconds while its screen is shown. Words say what the colour says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len
from rich.text import Text
from textual import on
from textual.app import RenderResult
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from tui.threads import Failed

if TYPE_CHECKING:
    from manager.service.money import MoneyNow
    from tui.app import TunefareApp

EVERY_S = 5.0
_GROUP = "money"
_DOT = " · "


class MoneyChanged(Message):
    """Money of this moment."""

    def __init__(self, money: MoneyNow) -> None:
        super().__init__()
        self.money = money


class MoneyLine(Widget):
    """One line of money."""

    DEFAULT_CSS = """
    MoneyLine { height: 1; padding: 0 1; background: $panel; color: $foreground; }
    MoneyLine.-problem { color: $warning; }
    MoneyLine.-alarm { color: $error; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._money: MoneyNow | None = None
        self._problem: str | None = None

    def on_mount(self) -> None:
        """Look now, and again while the screen is shown."""
        self.set_interval(EVERY_S, self._look_if_shown)
        self.look()

    def look(self) -> None:
        """Read money in a thread; a look that is under way may have begun before what is to be seen now."""
        app = cast("TunefareApp", self.app)
        context = app.context

        def read() -> Message:
            from manager.service.money import money_now  # The ledger's libraries: the first paint does without.

            return MoneyChanged(money_now(context))

        app.threads.start(self, read, group=_GROUP)

    def show(self, money: MoneyNow | None, problem: str | None) -> None:
        """Draw it.

        Args:
            money: as it was known last; None: nothing is known.
            problem: why it is not known now; None: it is.
        """
        self._money, self._problem = money, problem
        is_alarm = money is not None and bool(money.unconfirmed or (money.budget and money.budget.left_usd < 0))
        self.set_class(is_alarm, "-alarm")
        self.set_class(problem is not None, "-problem")
        self.tooltip = problem
        self.refresh()

    def render(self) -> RenderResult:
        """The fullest of its wordings that has room."""
        text = ""
        for text in self._wordings():
            if cell_len(text) <= self.size.width:
                break
        return Text(text, no_wrap=True, overflow="ellipsis")

    def _look_if_shown(self) -> None:
        app = cast("TunefareApp", self.app)
        if self.screen.is_current and not app.threads.is_busy(self, _GROUP):
            self.look()

    @on(MoneyChanged)
    def _changed(self, message: MoneyChanged) -> None:
        message.stop()
        self.show(message.money, None)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        self.show(self._money, message.error.message)

    async def on_click(self, event: Click) -> None:
        """The mouse may ask for more."""
        await self.app.run_action("app.show('budgets')")

    def _wordings(self) -> Iterator[str]:
        """From the fullest to the shortest."""
        if self._money is None:
            yield "money: reading the ledger ..." if self._problem is None else f"money unknown: {self._problem}"
            return
        from manager.service.money_words import day_text, month_text, rate_text, today_text, unconfirmed_text

        money = self._money
        alarm = unconfirmed_text(money)
        first = [] if alarm is None else [f"! {alarm}"]
        if self._problem is not None:
            first.append("NOT READ NOW, this is of before")
        full = [month_text(money), rate_text(money), today_text(money), day_text(money)]
        short = [month_text(money, is_short=True), rate_text(money, is_short=True), today_text(money)]
        day = day_text(money, is_short=True)
        yield _joined([*first, *full])
        yield _joined([*first, month_text(money), *short[1:], day_text(money)])
        yield _joined([*first, *short, day])
        yield _joined([*first, *short])
        yield _joined([*first, *short[:2]])
        yield _joined([*first, short[0]])


def _joined(parts: list[str | None]) -> str:
    return _DOT.join(part for part in parts if part)
