"""The themes: two of our own, and the terminal's colours; each colour that a screen uses is a variable of theirs.

Text has a contrast of 4.5 at least (WCAG 2.1, AA) on every background that screens put it on; a test computes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from textual.app import App
from textual.theme import BUILTIN_THEMES, Theme

from tui import terminal

DARK = Theme(
    name="tunefare-dark",
    primary="#7aa2f7",
    secondary="#9d8cf0",
    accent="#e0af68",
    success="#73c991",
    warning="#e5b567",
    error="#ff7b86",
    foreground="#d7dae0",
    background="#14161b",
    surface="#1a1d24",
    panel="#232731",
    dark=True,
    variables={
        "foreground-muted": "#a9afbc",
        "block-cursor-background": "#7aa2f7",
        "block-cursor-foreground": "#10131a",
        "block-cursor-blurred-background": "#303a52",
        "block-cursor-blurred-foreground": "#e6e8ec",
        "input-selection-background": "#3a4e7d",
        "button-color-foreground": "#10131a",
    },
)
LIGHT = Theme(
    name="tunefare-light",
    primary="#2456b8",
    secondary="#6341b5",
    accent="#8a5200",
    success="#1c6b37",
    warning="#805300",
    error="#b3172a",
    foreground="#1d2127",
    background="#fbfbf9",
    surface="#f3f3f0",
    panel="#e6e6e1",
    dark=False,
    variables={
        "foreground-muted": "#555b66",
        "block-cursor-background": "#2456b8",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#c9d6f0",
        "block-cursor-blurred-foreground": "#1d2127",
        "input-selection-background": "#b9cbf2",
        "button-color-foreground": "#ffffff",
    },
)
# Without a colour of its own, a cursor that has not the focus is told by its letters.
_BLURRED = {"block-cursor-blurred-text-style": "bold underline"}
TERMINAL_DARK, TERMINAL_LIGHT = (
    replace(BUILTIN_THEMES[name], name=f"tunefare-{name}", variables={**BUILTIN_THEMES[name].variables, **_BLURRED})
    for name in ("ansi-dark", "ansi-light")
)
"""The terminal's 16 colours over its own background."""
THEMES = (DARK, LIGHT, TERMINAL_DARK, TERMINAL_LIGHT)
_OF_TERMINAL = {terminal.DARK: TERMINAL_DARK.name, terminal.LIGHT: TERMINAL_LIGHT.name}
_OWN = {terminal.DARK: DARK.name, terminal.LIGHT: LIGHT.name}


def theme_name(setting: str, background: str | None) -> str:
    """The theme for a value of the setting `theme`.

    Args:
        setting: `auto`, `dark`, `light` or `terminal`.
        background: of the terminal, `dark` or `light`; None where it did not say: then it is taken as dark.
    """
    if setting == "terminal":
        return _OF_TERMINAL[background or terminal.DARK]
    return _OWN[(background or terminal.DARK) if setting == "auto" else setting]


def colour(app: App[Any], name: str) -> str:
    """A variable of the theme as a colour of Rich's, for what is no CSS: `#7aa2f7`, `blue`; empty where the theme has
    none of its own. Shares of opacity are dropped."""
    value = app.theme_variables.get(name, "").partition(" ")[0]
    if value.startswith("#"):
        return value[:7]
    return value.removeprefix("ansi_") if value.startswith("ansi_") else ""
