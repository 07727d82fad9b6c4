"""What others wrote never commands the terminal, and plain text passes as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.plain_text import log_text, printable, printable_json

_ANY = st.text(st.characters(), max_size=60)
_HOSTILE = st.lists(
    st.sampled_from(["\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\x9b31m", "\r", "\x08", "‮", "a", " "]),
    max_size=12,
).map("".join)


def is_quiet(text: str) -> bool:
    return all(
        letter in "\t\n"
        or (
            unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp")
            and unicodedata.bidirectional(letter) not in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
        )
        for letter in text
    )


@given(text=st.one_of(_ANY, _HOSTILE))
def test_nothing_commands_the_terminal(text: str) -> None:
    assert is_quiet(printable(text))
    assert is_quiet(log_text(text))
    printable(text).encode()


@given(text=st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\u061c"), max_size=60))
def test_what_is_plain_stays(text: str) -> None:
    assert printable(text) == text


@given(value=st.dictionaries(st.text(max_size=9), st.one_of(_ANY.filter(str.isprintable), _HOSTILE), max_size=4))
def test_json_stays_the_same_data(value: dict[str, str]) -> None:
    told = printable_json(json.dumps(value, ensure_ascii=False))
    assert is_quiet(told)
    assert json.loads(told) == value


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("\x1b[32mdone\x1b[0m", "done"),
        ("1 %\r50 %\r100 %\r", "100 %"),
        ("\x1b]0;you are root\x07hello", "hello"),
        ("broken \x1b", "broken \\x1b"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_a_log_line_is_kept_without_its_drawing(line: str, kept: str) -> None:
    assert log_text(line) == kept
