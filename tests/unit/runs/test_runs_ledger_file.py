"""A ledger file that cannot be used is a clear error, and the file is left as it is."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.planner.codec import plan_to_text
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from tests.unit.runs.samples import event, plan

RUN = "job-20260101-aaaa"
WRITER = """
import json, sys
from pathlib import Path
from manager.planner.codec import plan_from_text
from manager.runs.ledger import Ledger
from tasks.protocol import Event, EventType

path, name, plan_file = sys.argv[1:]
with Ledger.open(Path(path)) as ledger:
    ledger.create_run(name, plan_from_text(Path(plan_file).read_text()), Path("/r") / name, "local", None, 1.0)
    for seq in range(60):
        told = Event(seq=seq, time_s=float(seq), type=EventType.WARNING, data={"code": name, "message": "m"})
        ledger.append_events(name, [told])
        ledger.append_events("shared", [Event(seq=seq, time_s=float(seq), type=EventType.WARNING, data={})])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def filled(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.create_run(RUN, plan(), Path("/runs") / RUN, "local", None, 1.0)
        ledger.append_events(RUN, [event(seq) for seq in range(300)])


def test_the_file_is_private(path: Path) -> None:
    with Ledger.open(path):
        files = [path, *path.parent.glob("ledger.db-*")]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_no_sqlite_file(path: Path) -> None:
    path.write_bytes(b"this is no ledger" * 500)
    with pytest.raises(StateError, match="damaged") as caught:
        Ledger.open(path)
    assert caught.value.hint is not None
    assert f"{path}.damaged" in caught.value.hint
    assert path.read_bytes() == b"this is no ledger" * 500


def test_damage_in_the_middle(path: Path) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StateError, match="damaged"), Ledger.open(path) as ledger:
        ledger.run_events(RUN)
    assert path.read_bytes() == content


def test_a_newer_version(path: Path) -> None:
    filled(path)
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="version 99") as caught:
        Ledger.open(path)
    assert "Update tunefare" in str(caught.value.hint)
    assert path.read_bytes() == before


def test_somebody_elses_database(path: Path) -> None:
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE songs (title TEXT)")
    raw.commit()
    raw.close()
    with pytest.raises(StateError, match="not a ledger of tunefare"):
        Ledger.open(path)


def test_a_locked_ledger(path: Path) -> None:
    filled(path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"):
        Ledger.open(path, busy_timeout_s=0.05)
    raw.execute("ROLLBACK")
    raw.close()
    with Ledger.open(path, busy_timeout_s=0.05) as ledger:
        assert ledger.state(RUN) is RunState.PLANNED


def test_a_full_disk(path: Path) -> None:
    filled(path)
    with Ledger.open(path) as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StateError, match="full") as caught:
            ledger.append_events(RUN, [event(seq) for seq in range(300, 3000)])
        assert "Free space" in str(caught.value.hint)
        assert ledger.run(RUN).last_seq == 299


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file where a folder should be")
    with pytest.raises(StateError, match="cannot be opened for writing"):
        Ledger.open(home / "ledger.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home(path: Path) -> None:
    filled(path)
    path.chmod(0o400)
    with pytest.raises(StateError, match="cannot be opened for writing"):
        Ledger.open(path)


def test_a_ledger_that_became_read_only(path: Path) -> None:
    filled(path)
    with Ledger.open(path) as ledger:
        ledger._db.execute("PRAGMA query_only = ON")
        with pytest.raises(StateError, match="cannot be written"):
            ledger.request_stop(RUN, 1.0, "why")


def test_two_processes_create_and_write_together(path: Path, tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(plan_to_text(plan()))
    with Ledger.open(path) as ledger:
        ledger.create_run("shared", plan(), Path("/r"), "local", None, 1.0)
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name, str(plan_file)]) for name in ("one", "two")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    with Ledger.open(path) as ledger:
        for name in ("one", "two"):
            told = ledger.events(name)
            assert [item.seq for item in told] == list(range(60))
            assert {item.data["code"] for item in told} == {name}
        assert [item.seq for item in ledger.events("shared")] == list(range(60))


def test_processes_create_one_ledger_together(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from manager.runs.ledger import Ledger; Ledger.open(Path(sys.argv[1]))"
    )
    openers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [opener.wait(timeout=60) for opener in openers] == [0, 0, 0, 0]
    with Ledger.open(path) as ledger:
        assert ledger.runs() == ()
