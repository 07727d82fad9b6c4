"""Colours: text can be read on every background, and the theme follows the setting and the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from tests.support.tui_stage import running, settled, text_of, tui_context, until
from tui.app import TunefareApp
from tui.terminal import background_of_answer, background_of_variable, find_background
from tui.themes import DARK, LIGHT, THEMES, colour, theme_name
from tui.widgets.chart import Chart, Series

READABLE = 4.5
"""WCAG 2.1, level AA, success criterion 1.4.3."""
BACKGROUNDS = ("background", "surface", "panel")
COLOURS = ("primary", "secondary", "accent", "success", "warning", "error")
TEXTS = (
    *COLOURS,
    *(f"text-{name}" for name in COLOURS),
    "foreground",
    "text",
    "text-muted",
    "foreground-muted",
    "footer-key-foreground",
    "footer-description-foreground",
)
PAIRS = (
    ("block-cursor-foreground", "block-cursor-background"),
    ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    ("foreground", "input-selection-background"),
    ("button-color-foreground", "primary"),
    *((f"text-{name}", f"{name}-muted") for name in COLOURS),
)


def luminance(colour: Color) -> float:
    """Relative luminance of sRGB, as WCAG 2.1 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour.rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, background: str) -> float:
    """Ratio of WCAG 2.1 between a text's colour, as Textual writes it, and what it stands on."""
    ground = Color.parse(background)
    if text.startswith("auto"):
        share = float(text.removeprefix("auto").strip(" %") or 100) / 100
        drawn = ground + ground.get_contrast_text(share)
    else:
        drawn = ground + Color.parse(text)
    lighter, darker = sorted((luminance(drawn), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_text_can_be_read_on_every_background(theme: Theme) -> None:
    colours = theme.to_color_system().generate()
    pairs = [(text, ground) for ground in BACKGROUNDS for text in TEXTS] + list(PAIRS)
    faint = {
        (text, ground): round(ratio, 2)
        for text, ground in pairs
        if (ratio := contrast(colours[text], colours[ground])) < READABLE
    }
    assert faint == {}


@pytest.mark.parametrize(
    ("setting", "background", "name"),
    [
        ("auto", None, "tunefare-dark"),
        ("auto", "dark", "tunefare-dark"),
        ("auto", "light", "tunefare-light"),
        ("dark", "light", "tunefare-dark"),
        ("light", "dark", "tunefare-light"),
        ("terminal", None, "tunefare-ansi-dark"),
        ("terminal", "light", "tunefare-ansi-light"),
    ],
)
def test_the_setting_goes_before_the_terminal(setting: str, background: str | None, name: str) -> None:
    assert theme_name(setting, background) == name


@pytest.mark.parametrize(
    ("answer", "background"),
    [
        (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\\x1b[?62;22c", "dark"),
        (b"\x1b]11;rgb:ff/ff/e0\x07\x1b[?6c", "light"),
        (b"\x1b]11;rgba:fdf6/e3e3/d0d0/ffff\x07", "light"),
        (b"\x1b]11;rgb:0000/0000/ffff\x1b\\", "dark"),
        (b"\x1b[?6c", None),
        (b"", None),
    ],
)
def test_what_terminals_answer(answer: bytes, background: str | None) -> None:
    assert background_of_answer(answer) == background


@pytest.mark.parametrize(
    ("text", "background"),
    [("15;0", "dark"), ("0;15", "light"), ("0;default;7", "light"), ("12;8", "dark"), ("default;default", None)],
)
def test_what_colorfgbg_says(text: str, background: str | None) -> None:
    assert background_of_variable(text) == background


def test_a_terminal_that_nobody_can_ask_is_not_asked() -> None:
    assert find_background({"TERM": "dumb"}) is None
    assert find_background({"TERM": "dumb", "COLORFGBG": "0;15"}) == "light"


@pytest.mark.parametrize(("setting", "is_native"), [("terminal", True), ("light", False)])
async def test_the_terminals_own_background_is_left_alone(tmp_path: Path, setting: str, is_native: bool) -> None:
    app = TunefareApp(tui_context(tmp_path, theme=setting))
    async with running(app):
        assert app.native_ansi_color is is_native
        painted = app.screen.background_colors[1]
        assert (painted.ansi == -1) is is_native


@pytest.mark.parametrize("background", ["dark", "light"])
async def test_curves_have_the_terminals_colours_too(tmp_path: Path, background: str) -> None:
    app = TunefareApp(tui_context(tmp_path, theme="terminal"), background=background)
    async with running(app) as pilot:
        chart = Chart("loss", empty="nothing yet")
        await app.screen.mount(chart)
        await until(pilot, lambda: bool(chart.query("PlotWidget")))
        points = ((0.0, 1.0), (1.0, 2.0), (2.0, 1.5))
        names = ("primary", "success", "accent", "foreground", "foreground-muted")
        chart.show(
            [Series(name=name, points=points, colour=name) for name in names]
            + [Series(name="points", points=points, kind="points", colour="primary")],
            x_label="steps",
            y_label="loss",
            words="",
        )
        await settled(pilot)
        assert "foreground-muted" in text_of(app)
        assert colour(app, "primary") == "blue"


async def test_a_colour_of_the_theme_is_one_that_a_drawing_knows(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path, theme="light"))
    async with running(app):
        assert colour(app, "primary").casefold() == LIGHT.primary
        assert colour(app, "no-such-variable") == ""
        for theme in THEMES:
            app.theme = theme.name
            for name in ("primary", "success", "foreground", "foreground-muted", "text-error", "text-muted"):
                Style.parse(colour(app, name))
