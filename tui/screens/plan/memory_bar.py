"""The memory of one offer's card as a bar of letters: each component a letter, the end of the card a line, and words.

Letters, signs and words say everything; colours only repeat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from manager.units import format_bytes

if TYPE_CHECKING:
    from manager.service.memory_bar import MemoryBar

_COLOURS = ("$primary", "$secondary", "$accent", "$success", "$warning", "$foreground")
_OVER = "!"
_FREE = "·"
_EDGE = "│"
_LETTERS = {
    "context": "c",
    "workspace": "k",
    "weights": "W",
    "weight copies": "w",
    "gradients": "G",
    "optimizer state": "O",
    "inputs": "i",
    "activations": "A",
    "checkpoint stash": "s",
    "loss chain": "L",
    "temporaries": "t",
    "allocator reserve": "r",
}


class MemoryView(Static):
    """A headline, the bar and its legend."""

    DEFAULT_CSS = "MemoryView { height: auto; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("", id=id, markup=False)
        self._bar: MemoryBar | None = None
        self._reason = "memory: no offer is highlighted"
        self.is_brief = False

    def show_bar(self, bar: MemoryBar | None, *, reason: str = "memory: not estimated for this machine") -> None:
        """Draw the bar of an offer; without one the reason is told."""
        self._bar, self._reason = bar, reason
        self._draw()

    def set_brief(self, is_brief: bool) -> None:
        """Only headline and bar, where rows are dear."""
        if is_brief != self.is_brief:
            self.is_brief = is_brief
            self._draw()

    def on_resize(self) -> None:
        """The bar is as wide as there is room."""
        self._draw()

    def _draw(self) -> None:
        bar = self._bar
        if bar is None:
            self.update(self._reason)
            return
        parts = [Content(headline(bar)), bar_content(bar, max(10, self.size.width - 2))]
        if not self.is_brief:
            parts.append(legend_content(bar))
        self.update(Content("\n").join(parts))


def headline(bar: MemoryBar) -> str:
    """`memory of one L4: 22.84 GiB of 22.35 GiB, does not fit: temporaries tips it over by 0.50 GiB; f: fixes`."""
    has = f"{format_bytes(bar.needed_bytes)} of {format_bytes(bar.capacity_bytes)}"
    if bar.fits:
        share = bar.needed_bytes / bar.capacity_bytes
        return f"memory of one {bar.device}: {has}, fits with {1 - share:.0%} free; most: {bar.largest}"
    if bar.tipping is None:
        return f"memory of one {bar.device}: {has}, does not fit with what own runs have taught; f: fixes"
    return (
        f"memory of one {bar.device}: {has}, does not fit: {bar.tipping} tips it over, "
        f"{format_bytes(bar.lacking_bytes)} too much; f: fixes"
    )


def bar_cells(bar: MemoryBar, cells: int) -> list[tuple[str, int]]:
    """Each cell of the bar: its sign, and the place of its component (-1: none)."""
    # A step that is far too large still shows where the card ends.
    whole = max(bar.capacity_bytes, bar.needed_bytes)
    edge = min(cells - 1, round(bar.capacity_bytes / whole * (cells - 1)))
    drawn: list[tuple[str, int]] = []
    for at in range(cells):
        if at == edge:
            drawn.append((_EDGE, -1))
            continue
        place = _component_at(bar, (at + 0.5) / (cells - 1) * whole)
        if place is None:
            drawn.append((_FREE, -1))
        else:
            letter = _LETTERS.get(bar.components[place].name, "?")
            drawn.append((_OVER if at > edge else letter, place))
    return drawn


def bar_content(bar: MemoryBar, cells: int) -> Content:
    """The bar."""
    return Content.assemble(*((sign, _colour(place)) for sign, place in bar_cells(bar, cells)))


def legend_content(bar: MemoryBar) -> Content:
    """`W weights 4.60 GiB · G gradients ...`, largest first; what tips it over has a sign."""
    parts: list[tuple[str, str]] = []
    ordered = sorted(enumerate(bar.components), key=lambda one: -one[1].size_bytes)
    for place, part in ordered:
        sign = f"{_OVER} " if part.name == bar.tipping else ""
        text = f"{sign}{_LETTERS.get(part.name, '?')} {part.name} {format_bytes(part.size_bytes)}"
        parts += [(text, _colour(place)), (" · ", "")]
    return Content.assemble(*parts[:-1])


def _component_at(bar: MemoryBar, at_bytes: float) -> int | None:
    total = 0
    for place, part in enumerate(bar.components):
        total += part.size_bytes
        if at_bytes < total:
            return place
    return None


def _colour(place: int) -> str:
    return "$foreground-muted" if place < 0 else _COLOURS[place % len(_COLOURS)]
