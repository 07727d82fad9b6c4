"""A user's own keys: what holds, what is refused and why; the UI starts in every case."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.service.key_names import UnusableKeyError, normal_key
from manager.service.keys import KeyedAction, UserKeys, read_keys

ACTIONS = (
    KeyedAction(id="app.help", keys=("question_mark", "f1")),
    KeyedAction(id="plan.mark", keys=("space",)),
    KeyedAction(id="plan.why", keys=("w",)),
    KeyedAction(id="run.stop", keys=("w",)),
    KeyedAction(id="table.filter", keys=("slash",)),
)


def read(folder: Path, text: str) -> UserKeys:
    file = folder / "keys.toml"
    file.write_text(text, encoding="utf-8")
    return read_keys(file, ACTIONS)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    keys = read_keys(tmp_path / "keys.toml", ACTIONS)
    assert (keys.keymap, keys.problems) == ({}, ())
    assert [(row.action, row.keys, row.origin) for row in keys.rows][1] == ("plan.mark", ("space",), "default")


def test_own_keys_hold_as_one_or_several_quoted_or_not(tmp_path: Path) -> None:
    keys = read(tmp_path, '[keys]\n"plan.mark" = "m"\nrun.stop = ["ctrl+X", "%"]\n"table.filter" = "/,f"\n')
    assert keys.problems == ()
    assert keys.keymap == {"plan.mark": "m", "run.stop": "ctrl+x,percent_sign", "table.filter": "slash,f"}
    assert next(row.origin for row in keys.rows if row.action == "plan.mark") == "keys.toml"


def test_the_same_key_on_two_screens_is_no_clash(tmp_path: Path) -> None:
    assert read(tmp_path, '[keys]\n"plan.why" = "x"\n"run.stop" = "x"\n').problems == ()


def test_a_dialogs_key_may_be_the_applications(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('[keys]\n"app.help" = "f2"\n')
    dialog = KeyedAction(id="tour.skip", keys=("f2",), is_of_dialog=True)
    assert read_keys(file, (*ACTIONS, dialog)).problems == ()
    assert read_keys(file, (*ACTIONS, KeyedAction(id="run.skip", keys=("f2",)))).problems != ()


def test_two_actions_can_change_their_keys(tmp_path: Path) -> None:
    keys = read(tmp_path, '[keys]\n"plan.why" = "space"\n"plan.mark" = "w"\n')
    assert keys.problems == ()
    assert keys.keymap == {"plan.why": "space", "plan.mark": "w"}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('"plan.mrak" = "m"', "no action is called `plan.mrak`", "did you mean `plan.mark`?"),
        ('"zzz" = "m"', "no action is called `zzz`", "`tunefare tui --keys` lists the actions"),
        ('"plan.mark" = "w"', "`plan.why` has it", "its default stays: space"),
        ('"plan.mark" = "?"', "`app.help` has it", "its default stays: space"),
        ('"app.help" = "w"', "`plan.why` has it", "its default stays: question_mark, f1"),
        ('"plan.mark" = "/"', "`table.filter` has it", "its default stays: space"),
        ('"plan.mark" = "ctrl+m"', "same code for it as for enter", "its default stays: space"),
        ('"plan.mark" = "cmd+k"', "terminals keep keys with cmd for themselves", "its default stays: space"),
        ('"plan.mark" = "esc+k"', "no modifier is called `esc`", "its default stays: space"),
        ('"plan.mark" = "escape"', "it backs out of everything", "its default stays: space"),
        ('"plan.mark" = "ctrl+shift+k"', "do not tell it from ctrl+k", "its default stays: space"),
        ('"plan.mark" = "ctrl+7"', "ctrl with letters and with named keys only", "its default stays: space"),
        ('"plan.mark" = "wow"', "no key is called `wow`", "its default stays: space"),
        ('"plan.mark" = ""', "no key is called ``", "its default stays: space"),
        ('"plan.mark" = 3', "a key is a text", "its default stays: space"),
        ('"plan.mark" = []', "a key is a text", "its default stays: space"),
    ],
)
def test_a_line_that_cannot_be_heeded_is_told_and_its_default_stays(
    tmp_path: Path, line: str, message: str, hint: str
) -> None:
    keys = read(tmp_path, f'[keys]\n{line}\n"run.stop" = "x"\n')
    (problem,) = keys.problems
    assert message in problem.message
    assert problem.hint == hint
    assert keys.keymap == {"run.stop": "x"}


def test_of_two_that_ask_for_one_key_the_first_has_it(tmp_path: Path) -> None:
    keys = read(tmp_path, '[keys]\n"plan.why" = "x"\n"plan.mark" = "x"\n')
    assert keys.keymap == {"plan.why": "x"}
    assert [problem.action for problem in keys.problems] == ["plan.mark"]


def test_a_default_that_comes_back_takes_its_key_back(tmp_path: Path) -> None:
    keys = read(tmp_path, '[keys]\n"plan.mark" = "w"\n"plan.why" = "nonsense"\n')
    assert keys.keymap == {}
    assert [problem.action for problem in keys.problems] == ["plan.why", "plan.mark"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("[keys", "cannot be read"), ("keys = 3", "is no table"), ("[key]\na = 'b'", "unknown table `key`")],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, message: str) -> None:
    keys = read(tmp_path, text)
    assert keys.keymap == {}
    assert [problem.action for problem in keys.problems] == [None]
    assert message in keys.problems[0].message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("?", "question_mark"), ("/", "slash"), ("-", "minus"), ("+", "plus"), ("_", "underscore"), (",", "comma"),
        ("A", "A"), ("shift+a", "A"), ("Ctrl+L", "ctrl+l"), ("F5", "f5"), ("Space", "space"),
        ("exclamation_mark", "exclamation_mark"), ("ctrl+right", "ctrl+right"), ("7", "7"),
    ],
)  # fmt: skip
def test_keys_have_one_spelling(text: str, name: str) -> None:
    assert normal_key(text) == name


def test_our_spelling_of_characters_is_the_toolkits() -> None:
    from textual.keys import _character_to_key

    for code in range(33, 127):
        character = chr(code)
        assert normal_key(character) == _character_to_key(character)
        assert normal_key(normal_key(character)) == normal_key(character)


@pytest.mark.parametrize("text", ["alt+x", "Alt+F5", "cmd+s", "super+a"])
def test_keys_that_terminals_keep_are_refused(text: str) -> None:
    with pytest.raises(UnusableKeyError, match="terminals keep keys with"):
        normal_key(text)


def test_a_character_without_a_name_is_refused() -> None:
    with pytest.raises(UnusableKeyError):
        normal_key("\x07")
