"""A line of text whose editing keys keep their place among the letters.

Textual takes letters in the field and editing keys once they have climbed to the application: of keys that come in one
burst, over a slow line say, letters would overtake them, and another value would be typed than was meant.
"""

from __future__ import annotations

from textual.events import Key
from textual.widgets import Input

_EDITS = {
    "backspace": Input.action_delete_left,
    "delete": Input.action_delete_right,
    "ctrl+u": Input.action_delete_left_all,
    "ctrl+k": Input.action_delete_right_all,
    "ctrl+w": Input.action_delete_left_word,
    "left": Input.action_cursor_left,
    "right": Input.action_cursor_right,
    "home": Input.action_home,
    "end": Input.action_end,
}


class LineInput(Input):
    """As Input."""

    async def _on_key(self, event: Key) -> None:
        edit = _EDITS.get(event.key)
        if edit is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        edit(self)
