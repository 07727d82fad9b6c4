"""The screen Plan as a whole: a change in the form plans again, one pane at a time where the terminal is narrow."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key

from manager.service.starting import write_run_file
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens.launch import LaunchDialog
from tui.screens.plan.screen import PlanScreen
from tui.themes import DARK, LIGHT

ROWS = 120


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run file beside its data, in the folder where the user works; no machine of the test's own is offered."""
    monkeypatch.chdir(tmp_path)
    lines = [f"some words of review number {row},{'good' if row % 3 else 'bad'}" for row in range(ROWS)]
    Path("reviews.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    choices = {
        "model.source": "bert-base-uncased",
        "data.source": "reviews.csv",
        "where.clouds": ["aws"],
        "where.spot": True,
    }
    write_run_file(Path("tunefare.yaml"), choices, example=None, force=False)
    return Path("tunefare.yaml")


def plan_screen(app: TunefareApp) -> PlanScreen:
    assert isinstance(app.screen, PlanScreen)
    return app.screen


def panes(screen: PlanScreen) -> tuple[bool, bool]:
    """Whether form and table of offers are on the screen."""
    return screen.form.display, screen.offers.view.table.size.height > 0


async def test_a_change_in_the_form_plans_again(tmp_path: Path, run_file: Path) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, (120, 40)) as pilot:
        screen = plan_screen(app)
        await until(pilot, lambda: screen.offers.is_up_to_date)
        before = screen.offers.shown
        assert before is not None
        assert before.choice is not None
        assert before.choice.offer.use_spot
        screen.form.set_value("training.epochs", "6")
        await until(pilot, lambda: screen.offers.shown is not before and screen.offers.is_up_to_date)
        after = screen.offers.shown
        assert after is not None
        assert after.choice is not None
        assert after.choice.cost_usd is not None
        assert before.choice.cost_usd is not None
        assert after.choice.cost_usd.expected > before.choice.cost_usd.expected


async def test_what_cannot_be_planned_is_said_beside_the_last_answer(tmp_path: Path, run_file: Path) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, (120, 40)) as pilot:
        screen = plan_screen(app)
        await until(pilot, lambda: screen.offers.is_up_to_date)
        screen.form.set_value("training.epochs", "many")
        await settled(pilot)
        assert "the run file cannot be planned: training.epochs" in text_of(app)
        assert "below is the answer before" in text_of(app)
        await pilot.press("ctrl+l")
        await settled(pilot)
        assert isinstance(app.screen, PlanScreen)
        assert screen.offers.view.table.shown_keys
        screen.form.set_value("training.epochs", "3")
        await until(pilot, lambda: screen.offers.is_up_to_date)
        await until(pilot, lambda: "below is the answer before" not in text_of(app))
        assert "re-planning" not in text_of(app)


async def test_where_the_terminal_is_narrow_the_form_has_all_of_it_while_it_is_used(
    tmp_path: Path, run_file: Path
) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, (80, 24)) as pilot:
        screen = plan_screen(app)
        await until(pilot, lambda: screen.offers.is_up_to_date)
        assert panes(screen) == (False, True)
        await pilot.press("e")
        await settled(pilot)
        assert panes(screen) == (True, False)
        assert "from $" in text_of(app), "the money of the answer stays in sight"
        await pilot.press("2")
        await settled(pilot)
        assert isinstance(app.screen, PlanScreen), "a digit is typed into the field, and shows no other screen"
        await pilot.press("escape")
        await settled(pilot)
        assert panes(screen) == (False, True)
        assert app.focused is screen.offers.view.table.rows


async def test_keys_of_one_burst_are_taken_in_their_order(tmp_path: Path, run_file: Path) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, (120, 40)) as pilot:
        screen = plan_screen(app)
        await until(pilot, lambda: screen.offers.is_up_to_date)
        await pilot.press("e")
        await settled(pilot)
        for key in ("ctrl+u", *"abX", "backspace", *"c", "tab", "ctrl+u", *"de"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settled(pilot)
        await until(pilot, lambda: not screen.form.is_behind)
        assert (screen.form.draft.get("model.source"), screen.form.draft.get("data.source")) == ("abc", "de")


async def test_from_within_the_form_a_launch_waits_for_the_last_key(tmp_path: Path, run_file: Path) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, (120, 40)) as pilot:
        screen = plan_screen(app)
        await until(pilot, lambda: screen.offers.is_up_to_date)
        await pilot.press("e", "x", "ctrl+l")
        assert app.screen is screen
        await until(pilot, lambda: "cannot be planned" in text_of(app))
        await pilot.press("backspace")
        await until(pilot, lambda: screen.offers.is_up_to_date and not screen.form.is_behind)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: isinstance(app.screen, LaunchDialog))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", [DARK.name, LIGHT.name])
async def test_picture(tmp_path: Path, run_file: Path, size: tuple[int, int], theme: str) -> None:
    app = TunefareApp(tui_context(tmp_path), run_file)
    async with running(app, size) as pilot:
        app.theme = theme
        await until(pilot, lambda: plan_screen(app).offers.is_up_to_date)
        await settled(pilot)
        assert_snapshot(app, f"plan-{size[0]}x{size[1]}-{'dark' if theme == DARK.name else 'light'}")
