"""The terminal application in a test: surroundings at a fixed time, waiting without sleeping, pictures that compare."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from manager.service.context import Context
from tests.support import price_stage
from tui.app import TunefareApp

SNAPSHOTS = Path(__file__).parents[1] / "tui" / "snapshots"
SIZES = ((80, 24), (120, 40), (200, 50))
_LONGEST_WAIT_S = 60.0
_LOOK_S = 0.01
_CALM_LOOKS = 2
"""One after the other: a message that a thread posts is handled in one, and drawn in the next."""


def tui_context(folder: Path, *, clock: Callable[[], float] = lambda: price_stage.NOW_S, **settings: str) -> Context:
    """A context in a folder of the test, with a catalog of one cloud."""
    catalogs = folder / "catalogs"
    if not catalogs.exists():
        price_stage.write_catalog(catalogs, "aws", price_stage.catalog())
    context = price_stage.stage(folder, clock=clock, **{"catalogs": str(catalogs), **settings})
    context.home.ensure()
    return context


@asynccontextmanager
async def running(app: TunefareApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    """The application, painted, with nothing under way."""
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until no thread works and all messages are handled; errors as `until`."""
    app = pilot.app
    assert isinstance(app, TunefareApp)
    await until(pilot, lambda: not app.threads.is_busy())


async def drawn_behind(pilot: Pilot[Any], dialog: type[Screen[Any]]) -> None:
    """Wait until a dialog is there and the screen that it covers has no frame to come; errors as `until`."""
    app = app_of(pilot)
    await until(pilot, lambda: isinstance(app.screen, dialog) and not _has_to_be_drawn(app.screen_stack[-2]))


def _has_to_be_drawn(screen: Screen[Any]) -> bool:
    return bool(screen._layout_required or screen._dirty_widgets)


async def until(pilot: Pilot[Any], is_so: Callable[[], bool], *, limit_s: float = _LONGEST_WAIT_S) -> None:
    """Wait until something is so, and all messages are handled.

    Raises:
        AssertionError: that took longer than the limit; with what stands on the screen.
    """
    try:
        async with asyncio.timeout(limit_s):
            calm = 0
            while calm < _CALM_LOOKS:
                await pilot.pause()
                calm = calm + 1 if is_so() else 0
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise AssertionError(f"waited in vain; the screen:\n{text_of(pilot.app)}") from None


def app_of(pilot: Pilot[Any]) -> TunefareApp:
    """The application that the pilot drives."""
    assert isinstance(pilot.app, TunefareApp)
    return pilot.app


def shown(pilot: Pilot[Any]) -> str:
    """What stands on the screen, as plain lines."""
    return text_of(pilot.app)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, and wait until nothing is under way."""
    await pilot.press(*keys)
    await settled(pilot)


def text_of(app: App[Any]) -> str:
    """What stands on the screen, as plain lines."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def assert_snapshot(app: TunefareApp, name: str) -> None:
    """Compare the screen with its picture; `TUNEFARE_UPDATE_GOLDEN=1` writes the picture."""
    drawn = _normal(app.export_screenshot(title=name))
    file = SNAPSHOTS / f"{name}.svg"
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(drawn, encoding="utf-8")
    wanted = file.read_text(encoding="utf-8") if file.exists() else ""
    if drawn != wanted:
        failed = file.with_suffix(".failed.svg")
        failed.write_text(drawn, encoding="utf-8")
        raise AssertionError(f"{name} differs from {file}; see {failed}")


def _normal(svg: str) -> str:
    """Without the id that is drawn anew for each picture."""
    return re.sub(r"terminal-\d+", "terminal", svg)
