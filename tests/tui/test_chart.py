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
    ticks = Ticks(lambda value: f"{value:.0f} min")
    texts = ticks.get_labels_for_ticks(ticks.get_ticks(low, high))
    assert texts
    assert len(texts) == len(set(texts))


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
