"""The way of a run from its estimate to its bill: a line for each phase, figures first, bars where there is room.

Bars differ in their characters, so that no colour is needed; the figures stand before them and are cut last.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from rich.text import Text
from textual.events import Resize
from textual.widgets import Static

from manager.service.cost_accuracy import Waterfall, WaterfallStep, phase_title, usd_column
from tui.themes import colour

_TOTAL, _DEARER, _CHEAPER = "█", "▓", "░"
_NAME, _MONEY = 23, 10
_LEAST_BAR = 8
"""Columns under which a bar says nothing."""
_FIGURES = _NAME + 3 * _MONEY + 1


class WaterfallView(Static):
    """Shows one waterfall, and lines of words under it."""

    DEFAULT_CSS = """
    WaterfallView { height: auto; }
    """

    def __init__(self, *, empty: str, id: str | None = None) -> None:  # noqa: A002
        """
        Args:
            empty: what is said while there is nothing to show.
            id: as any widget's.
        """
        super().__init__(empty, id=id, markup=False)
        self._shown: Waterfall | None = None
        self._words: tuple[str, ...] = ()

    def show(self, found: Waterfall, words: tuple[str, ...]) -> None:
        """Show this waterfall in place of the one before."""
        self._shown, self._words = found, words
        self._draw()

    def on_resize(self, event: Resize) -> None:
        """Bars take the room that there is."""
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None:
            self.update(self._text(self._shown))

    def _text(self, found: Waterfall) -> Text:
        room = self.size.width or self.app.size.width
        text = Text(no_wrap=True, overflow="crop")
        for line in _lines(found, room):
            text.append_text(self._coloured(line))
            text.append("\n")
        if room >= _FIGURES + _LEAST_BAR and found.planned_usd is not None:
            text.append(f"{_DEARER} dearer, {_CHEAPER} cheaper than estimated\n", style=colour(self.app, "text-muted"))
        for words in self._words:
            text.append(_folded(words, room))
        return text

    def _coloured(self, line: str) -> Text:
        """The bar alone has a colour; the figures are the terminal's."""
        text = Text(line)
        for mark, name in ((_DEARER, "text-error"), (_CHEAPER, "text-success"), (_TOTAL, "primary")):
            if mark in line:
                text.stylize(colour(self.app, name), line.index(mark), line.rindex(mark) + 1)
        return text


def _lines(found: Waterfall, room: int) -> Iterator[str]:
    steps = found.seen_steps
    money = usd_column(
        [found.planned_usd, found.actual_usd, *(usd for step in steps for usd in (step.planned_usd, step.actual_usd))]
    )
    planned, actual, rest = money[0], money[1], money[2:]
    changes = usd_column(_size(step.change_usd) for step in steps)
    bars = list(_bars(found, steps, room - _FIGURES - 1))
    yield _line("", "change", "estimated", "billed", "")
    yield _line("Estimate", "", planned, "", bars[0])
    for number, step in enumerate(steps):
        change = "" if step.change_usd is None else f"{_sign(step.change_usd)}{changes[number]}"
        own = rest[2 * number], rest[2 * number + 1]
        yield _line(phase_title(step.name), change, *own, bars[number + 1])
    yield _line("Bill", "", "", actual, bars[-1])


def _line(name: str, change: str, planned: str, actual: str, bar: str) -> str:
    name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    return f"{name:<{_NAME}}{planned:>{_MONEY}}{actual:>{_MONEY}} {change:>{_MONEY}} {bar}".rstrip()


def _bars(found: Waterfall, steps: tuple[WaterfallStep, ...], columns: int) -> Iterator[str]:
    """The bars of the estimate, of each step and of the bill; empty where nothing is known, or there is no room."""
    known = [step.level_usd for step in steps] + [found.planned_usd, found.actual_usd]
    highest = max((usd for usd in known if usd is not None), default=Decimal(0))
    if columns < _LEAST_BAR or highest <= 0:
        yield from [""] * (len(steps) + 2)
        return
    scale = columns / float(highest)
    yield _total(found.planned_usd, scale)
    before = found.planned_usd
    for step in steps:
        yield "" if before is None or step.level_usd is None else _change(before, step.level_usd, scale)
        before = step.level_usd
    yield _total(found.actual_usd, scale)


def _total(usd: Decimal | None, scale: float) -> str:
    return "" if usd is None else _TOTAL * round(float(usd) * scale)


def _change(before: Decimal, after: Decimal, scale: float) -> str:
    if before == after:
        return ""
    start, end = round(float(min(before, after)) * scale), round(float(max(before, after)) * scale)
    mark = _DEARER if after > before else _CHEAPER
    return " " * min(start, max(end - 1, 0)) + mark * max(end - start, 1)


def _size(usd: Decimal | None) -> Decimal | None:
    return None if usd is None else abs(usd)


def _sign(usd: Decimal) -> str:
    return "+" if usd > 0 else "\N{MINUS SIGN}" if usd < 0 else ""


def _folded(words: str, room: int) -> str:
    """A sentence over as many lines as it needs: the figures above must not wrap, this may."""
    lines, line = [], ""
    for word in words.split():
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line]) + "\n"
