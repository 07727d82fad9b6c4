"""The user's own keys in the application, and on the command line that lists them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.in_process import Shell
from tests.support.tui_stage import running, tui_context
from tui.actions import ACTIONS
from tui.app import TunefareApp
from tui.keymap import keyed
from tui.screens.help import HelpScreen


def test_no_key_has_two_meanings_on_one_screen() -> None:
    spoken = Counter((keyed(action.id, action.key).scope, key) for action in ACTIONS for key in action.key.split(","))
    assert [key for key, count in spoken.items() if count > 1] == []


def test_action_ids_differ_and_every_action_has_words() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    assert [action.id for action in ACTIONS if not action.label or not action.text.endswith(".")] == []


def test_no_action_needs_a_key_that_terminals_keep() -> None:
    assert [action.id for action in ACTIONS if any(word in action.key for word in ("alt+", "cmd+", "super+"))] == []


async def test_an_own_key_does_what_the_default_did(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.keys_file.write_text('[keys]\n"app.help" = "f9"\n')
    app = TunefareApp(context)
    async with running(app) as pilot:
        await pilot.press("f1")
        assert not isinstance(app.screen, HelpScreen)
        await pilot.press("f9")
        assert isinstance(app.screen, HelpScreen)


async def test_a_key_that_cannot_be_had_is_told_and_the_default_stays(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.keys_file.write_text('[keys]\n"app.help" = "ctrl+m"\n')
    app = TunefareApp(context)
    async with running(app) as pilot:
        (told,) = app._notifications
        assert "same code for it as for enter" in told.message
        assert "its default stays: question_mark, f1" in told.message
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def test_the_actions_are_listed_with_their_keys(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys.toml").write_text('[keys]\n"app.help" = "f9"\n"app.halp" = "x"\n')
    listed = json.loads(shell.good("tui", "--keys", "--json"))
    rows = {row["id"]: row for row in listed["actions"]}
    assert rows.keys() == {action.id for action in ACTIONS}
    assert rows["app.help"]["keys"] == ["f9"]
    assert (rows["app.help"]["origin"], rows["app.quit"]["origin"]) == ("keys.toml", "default")
    assert rows["app.panic"]["command"] == "tunefare panic"
    (problem,) = listed["problems"]
    assert problem["hint"] == "did you mean `app.help`?"
    assert "f9" in shell.good("tui", "--keys")


def test_json_without_keys_is_refused(shell: Shell) -> None:
    done = shell.run("tui", "--json")
    assert (done.code, "--json goes with --keys" in done.stderr) == (2, True)
