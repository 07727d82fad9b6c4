"""What the screen Run shows of money and phases: words, and a bar made of characters with its numbers beside it."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual.widget import Widget
from textual.widgets import Static

from manager.service.live_phases import LivePhase, PhaseState
from manager.service.live_run import LiveRun
from manager.service.live_words import phase_words

_SPENT, _AHEAD, _FREE = "█", "▒", "░"
_WORDS = {PhaseState.ACTIVE: "bold", PhaseState.WAITING: "dim", PhaseState.SKIPPED: "dim"}


class BudgetBar(Widget):
    """How much of the cap is spent, and will be; `no cap` where there is none."""

    DEFAULT_CSS = """
    BudgetBar { height: 1; }
    """

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - as any widget's
        super().__init__(id=id)
        self._spent: float | None = None
        self._ahead: float | None = None
        self._when = "now"

    def show(self, live: LiveRun) -> None:
        """Draw this run's."""
        before = (self._spent, self._ahead, self._when)
        self._spent = live.cap_share
        self._ahead = live.projected_cap_share
        self._when = "in all" if live.is_over else "now"
        self.display = live.cap_usd is not None
        if before != (self._spent, self._ahead, self._when):
            self.refresh()

    def render(self) -> RenderResult:
        """The bar takes what its words leave."""
        return Text(bar_text(self._spent, self._ahead, self.size.width, when=self._when), no_wrap=True, overflow="crop")


def bar_text(spent: float | None, ahead: float | None, width: int, *, when: str = "now") -> str:
    """`██▒▒░░░░ 12% of the cap now, about 40% at its end` in so many columns; shares above 1 are told in words.

    Args:
        spent: share of the cap; None: unknown.
        ahead: expected share at the end; None: unknown, or over.
        width: columns.
        when: as of which moment.
    """
    words = "share of the cap: unknown" if spent is None else f"{spent:.0%} of the cap {when}"
    if ahead is not None:
        words += f", about {ahead:.0%} at its end{' - OVER THE CAP' if ahead > 1 else ''}"
    room = width - len(words) - 1
    if room < 8:
        return words
    filled = round(min(1.0, spent or 0.0) * room)
    coming = max(0, round(min(1.0, ahead or 0.0) * room) - filled)
    return f"{_SPENT * filled}{_AHEAD * coming}{_FREE * (room - filled - coming)} {words}"


class PhaseLine(Static):
    """The phases of a run with their times; the one it is in is bold and has an arrow."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - as any widget's
        super().__init__(id=id, markup=False)
        self._phases: tuple[LivePhase, ...] = ()
        self._drawn = Text()

    def show(self, live: LiveRun) -> None:
        """Draw this run's."""
        self._phases = live.phases
        self._draw()

    def on_resize(self) -> None:
        """Lines are as long as there is room."""
        self._draw()

    def _draw(self) -> None:
        """A phase is never cut in two."""
        room = self.content_size.width or self.app.size.width
        text, column = Text(), 0
        for phase in self._phases:
            words = phase_words(phase)
            if column and column + 2 + len(words) > room:
                text.append("\n")
                column = 0
            gap = "  " if column else ""
            text.append(gap + words, style=_WORDS.get(phase.state, ""))
            column += len(gap) + len(words)
        if text != self._drawn:
            is_as_high = text.plain.count("\n") == self._drawn.plain.count("\n")
            self._drawn = text
            self.update(text, layout=not is_as_high)
