"""How keys are called, and which of them a terminal can send.

Names are those of the terminal UI's toolkit: a character, its Unicode name (`question_mark`), a named key (`f1`), after
modifiers (`ctrl+l`).
"""

from __future__ import annotations

import unicodedata

_NAMED = {
    "enter", "escape", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown",
    "up", "down", "left", "right", *(f"f{number}" for number in range(1, 25)),
}  # fmt: skip
_SHORTER = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_SAME_CODE = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+j": "enter", "ctrl+h": "backspace"}
"""What a terminal sends for a letter with ctrl is the code of another key."""
_KEPT = {
    "ctrl+c": "it says how to leave, and leaves",
    "escape": "it backs out of everything",
    "enter": "it chooses",
    "tab": "it moves on",
    "shift+tab": "it moves back",
}
"""Keys that have one meaning everywhere."""
_NEVER_SENT = ("cmd", "super", "meta", "win", "hyper", "option", "command", "alt")
"""Alt among them: terminals make characters or menus of it, and Esc followed by a key is not told from it."""


class UnusableKeyError(ValueError):
    """A key that no terminal sends, that is taken everywhere, or whose name nobody knows."""


def normal_key(text: str) -> str:
    """The one spelling of a key.

    Raises:
        UnusableKeyError: it cannot be given to an action; the message says why.
    """
    spelled = [text.strip()] if text.strip() == "+" else text.strip().split("+")
    modifiers = sorted({modifier.strip().lower() for modifier in spelled[:-1]})
    key = _name(spelled[-1].strip(), text)
    if modifiers == ["shift"] and len(key) == 1:
        return key.upper()
    name = "+".join([*modifiers, key.lower() if modifiers else key])
    _check_sent(name)
    return name


def _name(key: str, text: str) -> str:
    if len(key) == 1:
        name = _name_of_character(key)
        if not name:
            raise UnusableKeyError("it is no character that can be typed")
        return name
    lowered = _SHORTER.get(key.lower(), key.lower())
    if lowered in _NAMED or lowered in _PUNCTUATION:
        return lowered
    raise UnusableKeyError(f"no key is called `{text.strip()}`")


def _name_of_character(character: str) -> str:
    if character.isalnum():
        return character
    long = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    return _SHORTER.get(long, long)


_PUNCTUATION = frozenset(_name_of_character(chr(code)) for code in range(33, 127) if not chr(code).isalnum())


def _check_sent(name: str) -> None:
    *modifiers, key = name.split("+")
    for modifier in modifiers:
        if modifier in _NEVER_SENT:
            raise UnusableKeyError(f"terminals keep keys with {modifier} for themselves")
        if modifier not in ("ctrl", "shift"):
            raise UnusableKeyError(f"no modifier is called `{modifier}`")
    if name in _KEPT:
        raise UnusableKeyError(f"it has one meaning everywhere: {_KEPT[name]}")
    if name in _SAME_CODE:
        raise UnusableKeyError(f"a terminal sends the same code for it as for {_SAME_CODE[name]}")
    if len(key) == 1 and {"ctrl", "shift"} <= set(modifiers):
        raise UnusableKeyError(f"most terminals do not tell it from ctrl+{key}")
    if "ctrl" in modifiers and key not in _NAMED and not (len(key) == 1 and key.isascii() and key.isalpha()):
        raise UnusableKeyError("terminals have ctrl with letters and with named keys only")
