"""Charts: ticks that read differently, and pictures without colour."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import ComposeResult

from tests.support.tui_stage import running, text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens.base import BaseScreen
from tui.widgets.chart import Chart, Series
from tui.widgets.ticks import Ticks


class Drawn(BaseScreen):
    SCOPE = "runs"

    def compose_body(self) -> ComposeResult:
        yield Chart("Loss", empty="no step yet")


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0, 1), (-0.2, 0.2), (9.3, 9.5), (0, 4000)])
def test_no_two_ticks_beside_each_other_read_the_same(low: float, high: float) -> None:
    ticks = Ticks(lambda value: f"{value:.0f} min", lambda: 80, is_across=True)
    texts = ticks.get_labels_for_ticks(ticks.get_ticks(low, high))
    assert texts
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("cells", [4, 12, 30, 80])
def test_texts_beside_each_other_have_room(cells: int) -> None:
    across = Ticks(lambda value: f"{value:.1f} minutes", lambda: cells, is_across=True)
    texts = across.get_labels_for_ticks(across.get_ticks(0, 10))
    assert 1 <= len(texts) <= max(2, cells // (len("10.0 minutes") + 2))
    up = Ticks(lambda value: f"${value:.2f}", lambda: cells, is_across=False)
    assert 1 <= len(up.get_ticks(0, 10)) <= max(2, cells // 2)


async def test_a_chart_without_colour_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(TunefareApp(tui_context(tmp_path)), (120, 40)) as pilot:
        screen = Drawn()
        pilot.app.push_screen(screen)
        await until(pilot, lambda: screen.is_current)
        screen.query_one(Chart).show(
            [Series(name="training", points=tuple((float(x), 1 / (x + 1)) for x in range(50)))],
            x_label="optimizer steps",
            y_label="",
            words="loss 0.02 at step 49",
        )
        await until(pilot, lambda: "┃" in text_of(pilot.app))
        assert "loss 0.02 at step 49" in text_of(pilot.app)
