"""Settings are changed in their file: comments stay, bad values are refused first, the environment is told."""

from __future__ import annotations

import json
import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import ConfigError, StateError
from manager.service import settings as module
from manager.service.settings import SettingState, set_setting, settings, unset_setting
from tests.support.contexts import make_context
from tests.support.in_process import Shell


def by_name(states: tuple[SettingState, ...]) -> dict[str, SettingState]:
    return {state.name: state for state in states}


def test_a_setting_that_is_set_holds_and_says_where_it_stands(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    before = by_name(settings(context))["theme"]
    assert (before.value, before.origin, before.default) == ("auto", "default", "auto")
    changed = set_setting(context, "theme", "light")
    assert (changed.state.value, changed.state.origin, changed.note) == ("light", "config.toml", None)
    assert by_name(settings(changed.context))["theme"] == changed.state
    again = unset_setting(changed.context, "theme")
    assert (again.state.value, again.state.origin) == ("auto", "default")


def test_comments_order_and_other_settings_stay(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.home.config_file.write_text("# ours\nstop_grace_s = 5  # short\nlocal_price_usd_per_hour = 0.30")
    set_setting(context, "confirm_above_usd", "25.50")
    set_setting(context, "stop_grace_s", "7")
    assert context.home.config_file.read_text() == (
        "# ours\nstop_grace_s = 7  # short\nlocal_price_usd_per_hour = 0.30\nconfirm_above_usd = 25.50\n"
    )
    unset_setting(context, "stop_grace_s")
    assert "# ours" in context.home.config_file.read_text()
    assert "stop_grace_s" not in tomllib.loads(context.home.config_file.read_text())


def test_line_ends_of_another_system_stay(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.home.config_file.write_bytes(b"stop_grace_s = 5\r\ntheme = 'dark'\r\n")
    set_setting(context, "stop_grace_s", "7")
    assert context.home.config_file.read_bytes() == b"stop_grace_s = 7\r\ntheme = 'dark'\r\n"


@pytest.mark.parametrize("value", ["5", "0.5", "1e2", "05", ".5", "+5"])
def test_every_spelling_of_a_number_is_read_back_as_that_number(tmp_path: Path, value: str) -> None:
    changed = set_setting(make_context(tmp_path), "stop_grace_s", value)
    assert float(changed.state.value) == float(value)


def test_text_with_quotes_and_spaces_is_kept(tmp_path: Path) -> None:
    odd = 'price "lists"\\new'
    assert set_setting(make_context(tmp_path), "catalogs", odd).context.config.text("catalogs") == odd


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("theme", "lihgt", "none of auto, dark, light, terminal", "did you mean `light`?"),
        ("confirm_above_usd", "ten", "not a number of USD", "the default is 10 USD"),
        ("confirm_above_usd", "", "not a number of USD", "the default is 10 USD"),
        ("themes", "dark", "unknown setting `themes`", "did you mean `theme`?"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, value: str, message: str, hint: str
) -> None:
    context = make_context(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        set_setting(context, name, value)
    assert caught.value.hint == hint
    assert not context.home.config_file.exists()


def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.home.config_file.write_text("theme = \n")
    with pytest.raises(ConfigError, match="cannot be read"):
        set_setting(context, "theme", "dark")
    assert context.home.config_file.read_text() == "theme = \n"


@pytest.mark.parametrize(("password", "is_told"), [(":hunter2", True), ("", False)])
def test_a_password_among_the_settings_is_told(tmp_path: Path, password: str, is_told: bool) -> None:
    changed = set_setting(make_context(tmp_path), "ledger_url", f"postgresql://ann{password}@db.team/runs")
    assert (changed.note is not None) == is_told
    assert "hunter2" not in f"{changed.note}{changed.state.shown}"
    if is_told:
        assert "PGPASSWORD" in str(changed.note)


def test_the_environment_goes_before_and_that_is_said(tmp_path: Path) -> None:
    context = replace(make_context(tmp_path), environment={"TUNEFARE_THEME": "light"})
    changed = set_setting(context, "theme", "dark")
    assert (changed.state.value, changed.state.origin) == ("light", "TUNEFARE_THEME")
    assert changed.note == "TUNEFARE_THEME is set to 'light' in the environment and goes before the file's value"
    assert context.home.config_file.read_text() == 'theme = "dark"\n'


def test_the_file_is_the_owners_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    real = tmp_path / "dotfiles.toml"
    real.write_text("stop_grace_s = 5\n")
    real.chmod(0o644)
    context.home.config_file.symlink_to(real)
    set_setting(context, "theme", "dark")
    assert context.home.config_file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert tomllib.loads(real.read_text()) == {"stop_grace_s": 5, "theme": "dark"}


def test_what_someone_else_writes_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(tmp_path)
    context.home.config_file.write_text("stop_grace_s = 5\n")
    edited = module._edited
    rounds = []

    def interrupted(*arguments: object) -> str:
        rounds.append(1)
        if len(rounds) == 1:
            context.home.config_file.write_text("stop_grace_s = 6\n")
        return edited(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_edited", interrupted)
    set_setting(context, "theme", "dark")
    assert tomllib.loads(context.home.config_file.read_text()) == {"stop_grace_s": 6, "theme": "dark"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.home.config_file.mkdir()
    with pytest.raises((ConfigError, StateError), match="cannot be"):
        set_setting(context, "theme", "dark")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def test_the_commands_set_show_and_unset(shell: Shell) -> None:
    assert shell.good("config", "set", "theme", "dark") == "theme = dark (config.toml)\n"
    shown = json.loads(shell.good("config", "show", "--json"))
    theme = next(setting for setting in shown["settings"] if setting["name"] == "theme")
    assert theme == {
        "name": "theme",
        "value": "dark",
        "unit": "choice",
        "origin": "config.toml",
        "default": "auto",
        "choices": ["auto", "dark", "light", "terminal"],
    }
    unset = json.loads(shell.good("config", "unset", "theme", "--json"))
    assert (unset["setting"]["value"], unset["note"]) == ("auto", None)


def test_a_wrong_value_on_the_command_line_ends_with_2(shell: Shell) -> None:
    done = shell.run("config", "set", "theme", "pink")
    assert done.code == 2
    assert "none of auto, dark, light, terminal" in done.stderr


def test_a_value_that_begins_with_a_minus_is_no_option(shell: Shell) -> None:
    done = shell.run("config", "set", "stop_grace_s", "-5")
    assert done.code == 2
    assert "'-5'" in done.stderr
    assert "No such option" not in done.stderr


@pytest.mark.parametrize("columns", [80, 200])
def test_settings_can_be_read_on_any_terminal(shell: Shell, columns: int) -> None:
    shell.monkeypatch.setenv("COLUMNS", str(columns))
    lines = shell.good("config", "show").splitlines()
    assert max(map(len, lines)) <= columns
    (line,) = [line for line in lines if line.startswith("heartbeat_s ")]
    assert "default" in line
