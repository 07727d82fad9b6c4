"""State is its owner's alone, under any umask; what is not tunefare's keeps its mode."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.paths import Home
from manager.service.private_state import keep_private, tighten


@pytest.fixture
def _loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(place: Path) -> int:
    return stat.S_IMODE(place.stat().st_mode)


def open_home(folder: Path) -> Home:
    home = Home(root=folder / "home")
    home.ensure()
    (home.runs_dir / "run-1").mkdir()
    (home.runs_dir / "run-1" / "job.json").write_text("{}")
    home.ledger_file.write_text("")
    home.ledger_file.with_name("ledger.sqlite3-wal").write_text("")
    home.config_file.write_text("")
    for place in (home.root, *home.root.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    return home


def open_places(home: Home) -> list[Path]:
    return [place for place in (home.root, *home.root.rglob("*")) if mode(place) & 0o077]


def test_what_was_open_is_closed_and_told(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    (told,) = tighten(home)
    assert str(home.root) in told
    assert "other users" in told
    assert open_places(home) == []
    assert tighten(home) == ()


def test_an_open_file_in_a_closed_folder_is_closed_too(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    tighten(home)
    home.config_file.chmod(0o640)
    (told,) = tighten(home)
    assert str(home.config_file) in told
    assert mode(home.config_file) == 0o600


def test_nothing_is_told_of_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert tighten(Home(root=tmp_path / "nothing")) == ()
    assert not (tmp_path / "nothing").exists()


def test_what_is_not_tunefares_keeps_its_mode(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    own = tmp_path / "own-data.csv"
    own.write_text("text,label\n")
    own.chmod(0o644)
    os.link(own, home.runs_dir / "run-1" / "data.csv")
    beside = home.root / "notes.txt"
    beside.write_text("mine")
    beside.chmod(0o644)
    tighten(home)
    assert mode(own) == 0o644
    assert mode(beside) == 0o644


def test_a_folder_that_all_share_stays_one(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    home.root.chmod(0o1777)
    tighten(home)
    assert mode(home.root) == 0o1777
    assert mode(home.runs_dir) == 0o700
    assert mode(home.config_file) == 0o600


def test_a_folder_without_state_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "projects"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert tighten(Home(root=folder)) == ()
    assert mode(folder) == 0o755


@pytest.mark.usefixtures("_loose_umask")
def test_new_files_are_private_under_a_loose_umask(tmp_path: Path) -> None:
    keep_private()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    subprocess.run([sys.executable, "-c", "open('child', 'w')"], cwd=tmp_path, check=True)
    assert {mode(place) & 0o077 for place in tmp_path.iterdir()} == {0}


def test_the_command_line_keeps_all_state_private(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.umask(0); sys.argv = ['tunefare', 'config', 'set', 'stop_grace_s', '30']\n"
        "from manager.cli.main import main\nmain()"
    )
    root = tmp_path / "home"
    environment = {**os.environ, "TUNEFARE_HOME": str(root), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (root / "config.toml").exists()
    assert open_places(Home(root=root)) == []
    root.chmod(0o755)
    again = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "could be read by other users" in again.stderr
    assert open_places(Home(root=root)) == []
