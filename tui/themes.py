"""The two themes of the application; each colour that a screen uses is a variable of theirs."""

from __future__ import annotations

from textual.theme import Theme

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
)
