"""What the terminal tells of itself before the screens take it: its size, and whether its background is dark or light.

Owns the question (OSC 11) and its time limit. Nothing is asked where there is no terminal to answer.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

DARK = "dark"
LIGHT = "light"

_ASK = b"\x1b]11;?\x1b\\"
_ASK_FOR_ATTRIBUTES = b"\x1b[c"
"""Every terminal answers this one, and in order: where its answer comes first, the other will not come."""
_ATTRIBUTES = re.compile(rb"\x1b\[\?[0-9;]*c")
_COLOUR = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_TIMEOUT_S = 1.0
"""Only a terminal that does not answer at all costs this; an answer after it would be read as keys."""
_MUTE = ("dumb", "linux", "")
"""Values of TERM where nobody would answer."""


def trust_own_size(environment: MutableMapping[str, str]) -> None:
    """Forget COLUMNS and LINES where the terminal knows its size.

    Textual believes them first, and where a shell has exported them they stay as they are when the window changes.
    """
    with suppress(OSError, ValueError, AttributeError):
        if all(os.get_terminal_size(sys.__stdout__.fileno())):  # type: ignore[union-attr]  # None: AttributeError
            for name in ("COLUMNS", "LINES"):
                environment.pop(name, None)


def find_background(environment: Mapping[str, str], *, timeout_s: float = _TIMEOUT_S) -> str | None:
    """`dark`, `light`, or None when neither the terminal nor COLORFGBG says it.

    Keys that are typed within the time of the answer are lost.
    """
    answer = b"" if environment.get("TERM", "") in _MUTE else _ask(timeout_s)
    return background_of_answer(answer) or background_of_variable(environment.get("COLORFGBG", ""))


def background_of_answer(answer: bytes) -> str | None:
    """What a terminal's answer to OSC 11 says; by the luminance of the colour (ITU-R BT.709)."""
    found = _COLOUR.search(answer)
    if found is None:
        return None
    red, green, blue = (int(digits, 16) / (16 ** len(digits) - 1) for digits in found.groups())
    return LIGHT if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else DARK


def background_of_variable(text: str) -> str | None:
    """What COLORFGBG says, `15;0` or `0;default;15`: its last number is the background among 16 colours."""
    last = text.rpartition(";")[2]
    if not last.isdecimal():
        return None
    return DARK if int(last) in (0, 1, 2, 3, 4, 5, 6, 8) else LIGHT


def _ask(timeout_s: float) -> bytes:
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        before = termios.tcgetattr(terminal)
        try:
            # Without an echo of the answer, and without waiting for the end of a line.
            tty.setcbreak(terminal, termios.TCSANOW)
            os.write(terminal, _ASK + _ASK_FOR_ATTRIBUTES)
            return _answer(terminal, time.monotonic() + timeout_s)
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except (OSError, termios.error):
        return b""
    finally:
        os.close(terminal)


def _answer(terminal: int, deadline_s: float) -> bytes:
    answer = b""
    while _ATTRIBUTES.search(answer) is None:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))
        chunk = os.read(terminal, 1024) if ready else b""
        if not chunk:
            break
        answer += chunk
    return answer
