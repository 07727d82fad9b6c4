"""Text that changes often is laid out only when it needs another number of lines; a log keeps to its end."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tui.widgets.quiet_text import QuietText
from tui.widgets.run_log import RunLog


class Shown(App[None]):
    CSS = "QuietText { height: auto; } RunLog { height: 1fr; scrollbar-size-horizontal: 0; }"

    def compose(self) -> ComposeResult:
        yield QuietText("one line", id="text")
        yield RunLog(id="log")


def last_line(app: Shown) -> int:
    log = app.query_one(RunLog)
    return round(log.scroll_y) + log.size.height


async def test_a_log_follows_its_end_until_somebody_reads_further_up_and_again_from_its_end() -> None:
    app = Shown()
    async with app.run_test(size=(40, 12)) as pilot:
        log = app.query_one(RunLog)
        log.add(f"line {number}" for number in range(50))
        await pilot.pause()
        assert last_line(app) == 50
        log.scroll_up(animate=False)
        await pilot.pause()
        log.add(["line 50", "line 51"])
        await pilot.pause()
        assert last_line(app) == 49
        log.scroll_end(animate=False)
        await pilot.pause()
        log.add(["line 52"])
        await pilot.pause()
        assert last_line(app) == 53


async def test_a_log_that_gets_less_room_still_follows_its_end() -> None:
    app = Shown()
    async with app.run_test(size=(40, 12)) as pilot:
        log = app.query_one(RunLog)
        log.add(f"line {number}" for number in range(50))
        app.query_one(QuietText).put("three\nlines\nnow")
        await pilot.pause()
        await pilot.pause()
        assert log.size.height == 9
        assert last_line(app) == 50
        log.add(["line 50"])
        await pilot.pause()
        assert last_line(app) == 51


@pytest.mark.parametrize(("text", "height"), [("another", 1), ("a longer text that needs a second line of it", 2)])
async def test_text_takes_the_lines_that_it_needs(text: str, height: int) -> None:
    app = Shown()
    async with app.run_test(size=(40, 12)) as pilot:
        shown = app.query_one(QuietText)
        shown.put(text)
        await pilot.pause()
        assert shown.size.height == height
        assert str(shown.render()) == text
