"""The screen Prices: filter, history, updates that are cancelled, time out or fail, the audit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from manager.errors import EngineError
from manager.launch.sky_worker import SkyWorker
from manager.prices.history import PriceHistory
from manager.service.context import Context
from manager.service.price_refresh import CANCELLED, UPDATED, Refreshed, refresh_prices
from tests.support.price_stage import HEADER, NOW_S, write_catalog
from tests.support.tui_stage import (
    SIZES,
    app_of,
    assert_snapshot,
    press,
    running,
    settled,
    shown,
    tui_context,
    until,
)
from tui.app import TunefareApp
from tui.screens import prices as screen_module
from tui.screens.error import ErrorScreen
from tui.screens.prices import PricesScreen
from tui.widgets.table import RowTable

AWS = f"""{HEADER}
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.40,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.08,eu-west-1,euw1-az1,x86_64
p5.48xlarge,H100,8.0,192.0,2048.0,,nan,30.00,us-east-1,use1-az1,x86_64
p5.48xlarge,H100,8.0,192.0,2048.0,,98.32,,eu-west-1,euw1-az1,x86_64
m7i.xlarge,,,4.0,16.0,,0.20,,us-east-1,use1-az1,x86_64
"""
L4_EAST = "aws/us-east-1/g6.xlarge/L4:1/on-demand"
DAY_S = 86_400
Refresh = Callable[..., list[Refreshed]]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """One cloud, three days old; the L4 has become dearer since a month ago."""
    write_catalog(tmp_path / "catalogs", "aws", AWS, age_s=3 * DAY_S)
    found = tui_context(tmp_path)
    with PriceHistory(found.home.price_history_file) as history:
        for usd, days in (("0.70", 30), ("0.90", 20), ("0.80", 3)):
            history.record("aws", {L4_EAST: Decimal(usd)}, as_of_s=NOW_S - days * DAY_S)
    return found


async def opened(pilot: Pilot[None]) -> PricesScreen:
    pilot.app.set_focus(None)
    await press(pilot, "6")
    screen = pilot.app.screen
    assert isinstance(screen, PricesScreen)
    return screen


def keys_of(screen: PricesScreen) -> tuple[str, ...]:
    return tuple(key for key in screen.query_one("#prices", RowTable).shown_keys if key.startswith("aws/"))


async def test_prices_stand_with_unit_age_source_and_what_is_unknown(context: Context) -> None:
    async with running(TunefareApp(context), (200, 50)) as pilot:
        screen = await opened(pilot)
        lines = {line.split()[0]: line for line in shown(pilot).splitlines() if " p5.48xlarge" in line and "us" in line}
        (h100,) = lines.values()
        assert len(keys_of(screen)) == 5
        assert "unknown" in h100
        assert "$30.00" in h100
        assert "3 days" in h100
        assert "$0.00" not in "".join(line for line in shown(pilot).splitlines() if "aws" in line)


async def test_words_filter_by_accelerator_cloud_and_market(context: Context) -> None:
    async with running(TunefareApp(context)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "slash", *"h100 aws spot")
        assert keys_of(screen) == ("aws/us-east-1/p5.48xlarge/H100:8/on-demand",)
        await press(pilot, "escape")
        assert len(keys_of(screen)) == 5


async def test_enter_shows_the_history_and_esc_closes_it(context: Context) -> None:
    async with running(TunefareApp(context), (200, 50)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "slash", *"l4 us-east", "enter", "enter")
        told = shown(pilot)
        assert "1 x L4, aws us-east-1 g6.xlarge" in told
        assert "on-demand: $0.70 to $0.90, $0.80 now" in told
        assert "$0.9000   +28.6%" in told
        assert screen.query_one("#history-chart").query("PlotWidget")
        await press(pilot, "escape")
        assert "+28.6%" in shown(pilot), "Esc ends the filter first"
        await press(pilot, "escape")
        assert "+28.6%" not in shown(pilot)


async def test_an_open_history_follows_the_cursor_and_says_where_there_is_none(context: Context) -> None:
    async with running(TunefareApp(context), (80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "slash", *"g6", "enter", "h")
        first = shown(pilot)
        await press(pilot, "j")
        await until(
            pilot, lambda: ("No history of this price yet" in first) != ("No history of this price yet" in shown(pilot))
        )
        assert "+28.6%" in first + shown(pilot)


async def test_a_moving_cursor_reads_no_history_and_esc_keeps_it_closed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    goes_on = threading.Event()

    def slowly(_context: Context, keys: list[str]) -> dict[str, list[object]]:
        asked.append(keys)
        goes_on.wait(30)
        return {}

    async with running(TunefareApp(context)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "h")
        assert screen.query_one("#history").has_class("-open")
        monkeypatch.setattr(screen_module, "history_of", slowly)
        await pilot.press("j", "k", "j", "k", "j")
        await until(pilot, lambda: bool(asked))
        assert len(asked) < 5
        await pilot.press("escape")
        goes_on.set()
        await settled(pilot)
        assert not screen.query_one("#history").has_class("-open")


def replaced(monkeypatch: pytest.MonkeyPatch, refresh: Refresh) -> None:
    monkeypatch.setattr(screen_module, "refresh_prices", refresh)


async def test_an_update_tells_how_far_it_is_and_reads_the_new_prices(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def refresh(_: Context, *, tell: Callable[[str], None], is_cancelled: Callable[[], bool]) -> list[Refreshed]:
        tell("downloading the prices of aws ...")
        assert may_end.wait(30)
        write_catalog(tmp_path / "catalogs", "aws", AWS.replace("98.32", "77.77"))
        return [Refreshed(cloud="aws", state=UPDATED, detail="5 rows", rows=5, changed_prices=1)]

    replaced(monkeypatch, refresh)
    async with running(TunefareApp(context)) as pilot:
        await opened(pilot)
        assert "$98.32" in shown(pilot)
        await pilot.press("u")
        await until(pilot, lambda: "downloading the prices of aws" in shown(pilot))
        assert "u cancels" in shown(pilot)
        may_end.set()
        await settled(pilot)
        assert "1 of 1 catalogs are of now" in shown(pilot)
        assert "$77.77" in shown(pilot)
        await press(pilot, "escape")
        assert "catalogs are of now" not in shown(pilot)


async def test_an_update_can_be_cancelled(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def refresh(_: Context, *, tell: Callable[[str], None], is_cancelled: Callable[[], bool]) -> list[Refreshed]:
        while not is_cancelled():
            asked.wait(0.01)
        return [Refreshed(cloud="aws", state=CANCELLED, detail="not asked", rows=None, changed_prices=None)]

    replaced(monkeypatch, refresh)
    async with running(TunefareApp(context)) as pilot:
        screen = await opened(pilot)
        await pilot.press("u")
        await until(pilot, lambda: "updating" in shown(pilot))
        await press(pilot, "u")
        assert "cancelled: 0 of 1 catalogs are of now; the prices of before stay in use" in shown(pilot)
        assert len(keys_of(screen)) == 5


async def test_a_provider_that_does_not_answer_is_given_up_and_said(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = SkyWorker(command=(sys.executable, "-c", "import time; time.sleep(60)"))
    replaced(monkeypatch, partial(refresh_prices, clouds=("aws",), worker=silent))
    impatient = tui_context(tmp_path, refresh_timeout_s="1")
    async with running(TunefareApp(impatient)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "u")
        told = " ".join(shown(pilot).split())
        assert "0 of 1 catalogs are of now; the prices of before stay in use" in told
        assert "no answer within 1 s" in told
        assert len(keys_of(screen)) == 5
    silent.close()


async def test_an_update_that_cannot_begin_says_what_to_do(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def refresh(*_: object, **__: object) -> list[Refreshed]:
        raise EngineError("SkyPilot is not installed [/]", hint="install it")

    replaced(monkeypatch, refresh)
    async with running(TunefareApp(context)) as pilot:
        screen = await opened(pilot)
        await press(pilot, "u")
        told = shown(pilot)
        assert "error: SkyPilot is not installed [/]" in told
        assert "hint: install it" in told
        assert "The prices of before stay in use." in told
        assert len(keys_of(screen)) == 5


async def test_the_audit_counts_what_rules_found(context: Context) -> None:
    async with running(TunefareApp(context), (80, 24)) as pilot:
        await opened(pilot)
        await press(pilot, "a")
        assert "A rule never invents a price" in shown(pilot)
        await press(pilot, "slash", *"unknown", "enter")
        assert "unknown price: the catalog gives no on-demand price" in shown(pilot)
        await press(pilot, "escape", "escape")
        assert "A rule never invents a price" not in shown(pilot)


async def test_catalogs_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "catalogs").write_text("no folder")
    async with running(TunefareApp(tui_context(tmp_path, catalogs=str(tmp_path / "catalogs")))) as pilot:
        pilot.app.set_focus(None)
        await press(pilot, "6")
        assert isinstance(pilot.app.screen, ErrorScreen)
        await press(pilot, "escape", "enter", "h")
        assert "no prices" in shown(pilot)


@pytest.mark.parametrize("theme", ["tunefare-dark", "tunefare-light"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("context")
async def test_snapshot(size: tuple[int, int], theme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The line of sources names the folder: relative, so that it is the same everywhere.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manager.service.market.detect_device", lambda: None)
    async with running(TunefareApp(tui_context(tmp_path, catalogs="catalogs")), size) as pilot:
        pilot.app.theme = theme
        await opened(pilot)
        await press(pilot, "slash", *"l4 us-east", "enter", "enter")
        assert_snapshot(app_of(pilot), f"prices-{size[0]}x{size[1]}-{theme.removeprefix('tunefare-')}")
