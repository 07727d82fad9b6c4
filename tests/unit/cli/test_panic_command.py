"""`panic` and `attach` on the command line: what is printed, what is asked, which exit code."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest
import typer

from manager.cli.panic_command import _confirm
from manager.runs.ledger import Ledger
from manager.runs.supervise import supervise
from tests.support.in_process import Shell
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def unconfirmed(tmp_path: Path) -> str:
    """A run whose end was not confirmed, of an engine that is not at hand."""
    engine = PlayedEngine()
    engine.confirm_after = 1000
    (tmp_path / "home").mkdir()
    with Ledger.open(tmp_path / "home" / "ledger.sqlite3") as ledger:
        run = order(tmp_path / "home" / "runs" / RUN, run_id=RUN)
        supervise(run, engine, ledger, time.time, lambda _: None, FAST)
    return RUN


def test_nothing_to_end(shell: Shell) -> None:
    done = shell.run("panic")
    assert (done.code, done.stdout, done.stderr) == (0, "", "nothing to end: no run may be billed\n")


def test_nothing_is_ended_without_a_word(shell: Shell, unconfirmed: str) -> None:
    done = shell.run("panic")
    assert done.code == 2
    assert "1 run may be billed: $3.60/h" in done.stderr
    assert f"$3.60/h  {unconfirmed}  UNCONFIRMED on local, CPU; not supervised" in done.stderr
    assert "hint: tunefare panic --yes" in done.stderr


def test_what_is_not_confirmed_is_loud(shell: Shell, unconfirmed: str) -> None:
    done = shell.run("panic", "--yes")
    assert done.code == 5
    first, *commands = done.stdout.splitlines()
    assert first.startswith(f"{unconfirmed}  cost unknown  NOT CONFIRMED: ")
    assert commands == [f"    tunefare reconcile {unconfirmed} --end"]
    assert f"not confirmed to be gone: {unconfirmed}: MAY STILL BE BILLED" in done.stderr


def test_the_report_as_json(shell: Shell, unconfirmed: str) -> None:
    done = shell.run("panic", "--yes", "--json")
    assert done.code == 5
    report = json.loads(done.stdout)
    assert (report["schema"], report["type"], report["ledger_error"]) == (1, "panic", None)
    (run,) = report["runs"]
    assert (run["run_id"], run["gone"]) == (unconfirmed, False)


def test_a_damaged_ledger_is_told_of(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.sqlite3").write_bytes(b"no ledger" * 1000)
    done = shell.run("panic", "--yes")
    assert done.code == 5
    assert done.stderr.count("is damaged") == 1
    assert "looking for runs in their folders instead" in done.stderr
    assert "no run was found that may be billed" in done.stderr
    assert "MAY STILL BE BILLED" in done.stderr


def test_settings_that_cannot_be_read_keep_nothing_from_its_end(shell: Shell, unconfirmed: str, tmp_path: Path) -> None:
    (tmp_path / "home" / "config.toml").write_text("a = [")
    done = shell.run("panic", "--yes")
    assert done.code == 5
    assert "cannot be read" in done.stderr
    assert "It goes on with the default settings" in done.stderr
    assert f"not confirmed to be gone: {unconfirmed}: MAY STILL BE BILLED" in done.stderr


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("typed", ["yes", "y", "", "PANIC"])
def test_any_other_word_ends_nothing(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal(f"{typed}\n"))
    with pytest.raises(typer.Abort):
        _confirm()


def test_the_word_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = _Terminal("panic\nnot read\n")
    monkeypatch.setattr(sys, "stdin", typed)
    _confirm()
    assert typed.readline() == "not read\n"


def test_attach_tells_of_a_run_that_nobody_supervises(shell: Shell, unconfirmed: str) -> None:
    done = shell.run("attach", unconfirmed[:6])
    assert done.code == 5
    assert "[unconfirmed]" in done.stderr
    assert "it MAY STILL BE BILLED" in done.stderr
    assert f"hint: follow it to its end: `tunefare reconcile {unconfirmed}`" in done.stderr


def test_attach_to_no_run(shell: Shell) -> None:
    done = shell.run("attach", "nothing")
    assert done.code == 2
    assert "no run is called 'nothing'" in done.stderr


@pytest.mark.parametrize("option", [["--render"], ["--html", "report.html"]])
def test_a_detached_run_has_nothing_to_write(shell: Shell, option: list[str]) -> None:
    done = shell.run("run", "--detach", "--yes", "--max-usd", "1", *option)
    assert done.code == 2
    assert "hint: later: tunefare attach RUN --html FILE" in done.stderr
