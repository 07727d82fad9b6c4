"""Text of others (names, labels, log lines, messages) as a terminal may show it: nothing in it is a command.

A model's name or a log line may hold escape sequences that move the cursor, retitle the window or write the clipboard,
and marks that turn the order of letters round. They are shown, not obeyed.
"""

from __future__ import annotations

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""All but tab and line feed."""
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SEPARATORS = "\u2028\u2029"
_UNSEEN = re.compile(f"[{_CONTROLS}{_DIRECTIONS}{_SEPARATORS}\ud800-\udfff]")
# Colours and other sequences of a program that took a log for a terminal: nothing is lost without them.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]*[0-~])")


def printable(text: str) -> str:
    """The text with each control character written out as `\\x1b`, but for tab and line feed."""
    return _UNSEEN.sub(_written_out, text)


def printable_json(text: str) -> str:
    """A JSON text with the same characters as JSON's own escapes: the same data to whoever reads it."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def log_text(line: str) -> str:
    """A log line as it is kept: of a line that was redrawn the last state, no colours, the rest as `printable`."""
    return printable(_SEQUENCE.sub("", line).rstrip("\r").rsplit("\r", 1)[-1])


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
