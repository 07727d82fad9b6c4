"""The watcher, started by the system: systemd and cron are programs of the test that keep what they are given."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manager.config import read_config
from manager.errors import StateError, UsageError
from manager.service.context import Context
from manager.service.watch_install import install, installed, uninstall
from manager.service.watch_loop import watch_status
from tests.support.contexts import make_context

OTHER = "MAILTO=me@example.org\n# my own\n0 4 * * * /usr/bin/backup --all 50\\%  # every night\n"


ONCE = ("--once", "--timer")


def program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "grep", "touch", "cp"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return replace(make_context(tmp_path), environment={"PATH": "/usr/bin"}, user_home=tmp_path / "me")


@pytest.fixture
def tab(bin_dir: Path, tmp_path: Path) -> Path:
    """The user's crontab, which is there only once somebody wrote it."""
    file = tmp_path / "tab"
    text = (
        f'if [ "$1" = -l ]; then [ -f {file} ] || {{ echo "no crontab for me" >&2; exit 1; }}; cat {file}; '
        f"else cat > {file}; fi"
    )
    program(bin_dir, "crontab", text)
    return file


@pytest.fixture
def calls(bin_dir: Path, tmp_path: Path) -> Path:
    file = tmp_path / "calls"
    program(bin_dir, "systemctl", f'echo "$@" >> {file}')
    return file


def test_a_line_of_crontab_comes_and_goes_and_all_others_stay(context: Context, tab: Path) -> None:
    tab.write_text(OTHER)
    told = install(context, every_s=120)
    assert tab.read_text().startswith(OTHER)
    (line,) = tab.read_text().removeprefix(OTHER).splitlines()
    assert line.startswith("*/2 * * * * TUNEFARE_HOME=")
    command = line.removeprefix("*/2 * * * * ").partition(" >/dev/null")[0]
    words = shlex.split(command)
    assert words == [f"TUNEFARE_HOME={context.home.root}", sys.executable, "-P", "-m", "manager.cli", "watch", *ONCE]
    assert line in told
    found = installed(context)
    assert found is not None
    assert (found.how, found.where) == ("cron", line)

    install(context, every_s=60)
    assert tab.read_text().count("tunefare-watch-") == 1
    assert "removed the line of crontab; every other line stays" in uninstall(context)
    assert tab.read_text() == OTHER
    assert installed(context) is None
    assert uninstall(context) == ("nothing was installed for this state folder",)


def test_a_last_line_without_its_end_is_not_joined(context: Context, tab: Path) -> None:
    tab.write_text(OTHER.rstrip("\n"))
    install(context, every_s=60)
    assert tab.read_text().splitlines()[: len(OTHER.splitlines())] == OTHER.splitlines()


def test_a_first_crontab_is_written(context: Context, tab: Path) -> None:
    install(context, every_s=60)
    assert tab.read_text().count("\n") == 1


def test_two_state_folders_have_two_lines(context: Context, tab: Path, tmp_path: Path) -> None:
    other = make_context(tmp_path / "other")
    install(context, every_s=60)
    install(other, every_s=60)
    assert len(tab.read_text().splitlines()) == 2
    uninstall(other)
    assert installed(context) is not None


def test_a_crontab_that_cannot_be_read_is_not_written(context: Context, bin_dir: Path) -> None:
    program(bin_dir, "crontab", "echo 'you are not allowed to use this program' >&2; exit 1")
    with pytest.raises(StateError, match="not allowed"):
        install(context, every_s=60)


def test_odd_characters_of_a_state_folder_stay_one_word(context: Context, tab: Path, tmp_path: Path) -> None:
    odd = make_context(tmp_path / "50% of; it's $HOME")
    install(odd, every_s=60)
    (line,) = tab.read_text().splitlines()
    command = line.removeprefix("*/1 * * * * ").partition(" >/dev/null")[0]
    assert "50\\%" in command
    # cron takes the backslash away; then a shell reads it.
    echoed = command.replace("\\%", "%").replace(sys.executable, "/bin/echo").split(" /bin/echo ")[0]
    shown = subprocess.run(["/bin/sh", "-c", f'{echoed}; echo "$TUNEFARE_HOME"'], capture_output=True, text=True)
    assert shown.stdout.strip() == str(odd.home.root)


def test_a_unit_of_systemd_comes_and_goes(context: Context, calls: Path, tab: Path) -> None:
    told = install(context, every_s=90)
    found = installed(context)
    assert found is not None
    assert found.how == "systemd"
    unit = Path(found.where)
    text = unit.read_text()
    assert f'ExecStart="{sys.executable}" "-P" "-m" "manager.cli" "watch" "--every" "90"' in text
    assert f'Environment="TUNEFARE_HOME={context.home.root}"' in text
    assert "KillMode=process" in text
    assert f"--user enable --now {unit.name}" in calls.read_text()
    assert "undo: tunefare watch --uninstall" in told
    assert not tab.exists()

    assert uninstall(context) == (f"removed {unit}; its watcher was ended",)
    assert f"--user disable --now {unit.name}" in calls.read_text()
    assert not unit.exists()


def test_odd_characters_of_a_state_folder_reach_the_variable_of_a_unit(calls: Path, tmp_path: Path) -> None:
    odd = make_context(tmp_path / '50% "of" $HOME')
    install(odd, every_s=60)
    found = installed(odd)
    assert found is not None
    # systemd.exec(5): in Environment= a dollar is a dollar; a per cent sign stands twice.
    assert f'Environment="TUNEFARE_HOME={tmp_path}/50%% \\"of\\" $HOME/home"' in Path(found.where).read_text()


def test_systemd_that_does_not_run_for_the_user_is_left_alone(context: Context, bin_dir: Path, tab: Path) -> None:
    program(bin_dir, "systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    install(context, every_s=60)
    found = installed(context)
    assert found is not None
    assert found.how == "cron"


def test_settings_of_the_environment_are_refused(context: Context, tab: Path) -> None:
    """The watcher would look at an empty ledger of its own, and say that all is well."""
    told = {"TUNEFARE_LEDGER_URL": "postgresql://ann:secret@db/runs", "TUNEFARE_API_SERVER": "http://sky:46580"}
    here = replace(context, config=read_config(context.home.config_file, told))
    with pytest.raises(UsageError, match="TUNEFARE_LEDGER_URL, TUNEFARE_API_SERVER") as caught:
        install(here, every_s=60)
    assert "tunefare config set ledger_url" in (caught.value.hint or "")
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert not tab.exists()


def test_an_api_server_that_only_this_shell_names_is_refused(context: Context, tab: Path) -> None:
    here = replace(context, environment={**context.environment, "SKYPILOT_API_SERVER_ENDPOINT": "http://sky:46580"})
    with pytest.raises(UsageError, match="SKYPILOT_API_SERVER_ENDPOINT") as caught:
        install(here, every_s=60)
    assert "tunefare config set api_server" in (caught.value.hint or "")
    assert not tab.exists()
    # The setting goes before the variable, for the watcher as for this shell.
    here.home.config_file.write_text('api_server = "http://other:46580"\n')
    install(replace(here, config=read_config(here.home.config_file, {})), every_s=60)
    assert tab.exists()


def test_a_setting_that_stands_in_the_file_too_is_no_hindrance(context: Context, tab: Path) -> None:
    context.home.config_file.write_text('api_server = "http://sky:46580"\n')
    told = {"TUNEFARE_API_SERVER": "http://sky:46580"}
    install(replace(context, config=read_config(context.home.config_file, told)), every_s=60)
    assert tab.exists()


@pytest.mark.usefixtures("tab")
def test_the_interval_is_kept_as_long_as_it_is_installed(context: Context) -> None:
    install(context, every_s=110)
    status = watch_status(context)
    assert (status.installed_every_s, status.installed_at_s) == (120.0, context.clock())
    uninstall(context)
    assert watch_status(context).installed_every_s is None


def test_without_either_it_is_said(context: Context, bin_dir: Path) -> None:
    with pytest.raises(UsageError, match="neither systemd"):
        install(context, every_s=60)
    assert installed(context) is None
