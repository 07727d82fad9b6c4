"""`tunefare runs` as it is typed: the list, its part that is asked for, and its published form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manager.runs.states import RunState
from tests.support.contexts import make_context
from tests.support.in_process import Shell
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import make_run


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def keep(folder: Path, **states: RunState) -> None:
    for age, (run_id, state) in enumerate(states.items()):
        run = make_run(run_id=run_id, state=state)
        record = replace(run.record, created_at_s=1_700_000_000.0 + 86_400 * age)
        keep_runs(make_context(folder), replace(run, record=record))


def listed(text: str) -> list[str]:
    """Names of the runs of `keep`, one of each line."""
    return [word for line in text.splitlines() for word in line.split() if word in ("one", "two", "three")]


def test_nothing_yet(shell: Shell) -> None:
    done = shell.run("runs", "--state", "running")
    assert (done.code, done.stdout) == (0, "")
    assert "no runs yet" in done.stderr


def test_what_may_be_billed_is_told_with_its_dollars(shell: Shell) -> None:
    keep(shell.folder, one=RunState.UNCONFIRMED, two=RunState.SUCCEEDED, three=RunState.FAILED)
    done = shell.run("runs")
    alone = "1 without a client (tunefare reconcile)"
    assert done.stderr == f"1 run may still be billed: $0.80/h, {alone}; to end them all: tunefare panic\n"
    assert listed(done.stdout) == ["one", "three", "two"]
    assert "UNCONFIRMED" in done.stdout
    assert "2023-11-14 22:13:20" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_wide_terminal_has_estimate_and_metric(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(shell.folder, done=RunState.SUCCEEDED)
    monkeypatch.setenv("COLUMNS", "160")
    title, line = shell.good("runs").splitlines()
    assert " ".join(title.split()) == "cost of estimate state run started (UTC) before -> after tuning machine"
    assert "x  succeeded  done" in line
    assert "accuracy 19.1% -> 96.9%  aws 1x L4" in line


def test_dollars_and_ids_are_whole_at_80_columns(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = "bbc-news-minilm-20261122-cvfn"
    keep(shell.folder, **{run_id: RunState.RUNNING})
    monkeypatch.setenv("COLUMNS", "80")
    done = shell.run("runs")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(run_id in line and " 11-14 22:13" in line and "$" in line for line in lines)
    assert "aws" in done.stdout


def test_a_part_of_them(shell: Shell) -> None:
    keep(shell.folder, one=RunState.SUCCEEDED, two=RunState.FAILED, three=RunState.RUNNING)
    assert listed(shell.good("runs", "--since", "2023-11-15")) == ["three", "two"]
    assert listed(shell.good("runs", "--state", "failed", "--state", "succeeded")) == ["two", "one"]
    assert listed(shell.good("runs", "--sort", "oldest", "--limit", "1")) == ["one"]
    assert listed(shell.good("runs", "minilm", "TWO")) == ["two"]
    done = shell.run("runs", "--project", "none-such")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr.startswith("none of 3 runs is asked for\n1 run may still be billed")


def test_json_is_one_line_a_run(shell: Shell) -> None:
    keep(shell.folder, one=RunState.SUCCEEDED, two=RunState.RUNNING)
    lines = [json.loads(line) for line in shell.good("runs", "--json").splitlines()]
    assert [(line["schema"], line["run_id"], line["may_bill"]) for line in lines] == [
        (1, "two", True),
        (1, "one", False),
    ]
    (line,) = shell.good("runs", "--json", "--may-bill").splitlines()
    assert json.loads(line)["run_id"] == "two"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--state", "runing", "did you mean `running`?"),
        ("--sort", "price", "there is no order `price`"),
        ("--since", "soon", "'soon' is no moment"),
    ],
)
def test_what_is_refused(shell: Shell, option: str, value: str, said: str) -> None:
    done = shell.run("runs", option, value)
    assert done.code == 2
    assert said in done.stderr


def test_two_runs_side_by_side(shell: Shell) -> None:
    keep(shell.folder, one=RunState.FAILED, two=RunState.SUCCEEDED)
    told = shell.good("runs", "--compare", "one,two")
    title, *lines = told.splitlines()
    assert title.split() == ["one", "two"]
    (state,) = (line for line in lines if "state" in line and "failed" in line)
    assert state.startswith("≠")
    assert state.split()[-2:] == ["failed", "succeeded"]
    said = json.loads(shell.good("runs", "--compare", "one,two", "--json"))
    assert said["runs"] == ["one", "two"]
    assert ["failed", "succeeded"] in [row["cells"] for row in said["rows"] if row["differs"]]
    mixed = shell.run("runs", "lora", "--compare", "one,two", "--state", "failed", "--limit", "1")
    assert mixed.code == 2
    assert "WORDS, --state, --limit would choose others" in mixed.stderr
    alone = shell.run("runs", "--compare", "one")
    assert alone.code == 2
    assert "two runs or more" in alone.stderr
