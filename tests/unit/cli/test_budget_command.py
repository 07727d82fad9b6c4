"""`budget`, and what plan and run make of what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.errors import ExitCode
from manager.service.context import open_context
from manager.service.inspection import open_ledger
from tests.support.budget_stage import create, launched
from tests.support.cli import write_news, write_run_file
from tests.support.in_process import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    write_news(tmp_path)
    write_run_file(
        tmp_path, model="bert-base-uncased", data="news.csv", where={"clouds": ["aws"]}, project="research", budget={}
    )
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def shown(shell: Shell) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.good("budget", "show", "--json"))
    return found


def take(shell: Shell, cap: str) -> None:
    """Another run has this cap, and costs nothing yet."""
    context = open_context()
    with open_ledger(context) as ledger:
        create(ledger, f"other-{cap}", project="research", cap=cap, at_s=context.clock())


def test_without_a_budget(shell: Shell) -> None:
    assert "no budget is set" in shell.good("budget", "show")
    assert shown(shell)["budgets"] == []


def test_a_commitment_that_nobody_may_use_is_told_with_what_frees_it(shell: Shell) -> None:
    shell.good("budget", "set", "month", "200")
    take(shell, "8")
    text = " ".join(shell.good("budget", "show").split())
    assert "other-8 (planned) may still cost $8.00; not launched yet" in text
    assert "`tunefare reconcile other-8` frees this" in text


def test_set_show_and_remove(shell: Shell) -> None:
    assert "leaves $200.00 of $200.00" in shell.run("budget", "set", "month", "$200").stderr
    done = shell.run("budget", "set", "project", "research", "50", "--json")
    assert [entry["name"] for entry in json.loads(done.stdout)["budgets"]] == [None, "research"]
    context = open_context()
    with open_ledger(context) as ledger:
        launched(ledger, "a", project="research", cap="8", at_s=context.clock() - 60, charged_s=50)
    text = shell.good("budget", "show")
    for word in ("month budget", "budget of project research", "$200.00", "a (running) may still cost $7.95", "/h now"):
        assert word in text
    record = shown(shell)
    month, research = record["budgets"]
    assert (month["scope"], research["scope"]) == ("month", "project")
    for entry in (month, research):
        assert entry["spent_usd"] == pytest.approx(0.05)
        assert entry["committed_usd"] == pytest.approx(7.95)
        assert entry["spent_usd"] + entry["committed_usd"] + entry["left_usd"] == pytest.approx(entry["limit_usd"])
        assert [run["run_id"] for run in entry["runs"]] == ["a"]
    assert record["now"]["usd_per_hour"] == 3.6
    assert record["now"]["runs_that_may_bill"] == ["a"]
    assert len(record["months"]) == 6
    assert shell.run("budget", "remove", "month").code == 0
    assert [entry["name"] for entry in shown(shell)["budgets"]] == ["research"]


@pytest.mark.parametrize("arguments", [
    ("set", "month", "x"), ("set", "month", "research", "5"), ("set", "project", "5"), ("set", "week", "5"),
    ("set", "month", "0"), ("remove", "month"), ("remove", "project", "nobody"), ("remove", "project"),
])  # fmt: skip
def test_what_is_no_budget_is_refused_with_a_hint(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell.run("budget", *arguments)
    assert done.code == ExitCode.USAGE
    assert done.stderr.count("error:") == 1
    assert "hint:" in done.stderr
    assert shown(shell)["budgets"] == []


def test_a_plan_keeps_to_what_is_left_and_says_so(shell: Shell) -> None:
    before = json.loads(shell.good("plan", "--json"))
    assert before["budget_cap"] is None
    shell.good("budget", "set", "project", "research", "40")
    take(shell, "10")
    made = json.loads(shell.good("plan", "--json"))
    assert made["budget_cap"]["usd"] == 30.0
    assert any("leaves $30.00 of $40.00: the cap of this run is $30.00" in note for note in made["notes"])
    assert made["spec"]["budget"]["max_usd"] is None
    assert made["plan_id"] == before["plan_id"]
    # A lower cap of one's own stays.
    assert json.loads(shell.good("plan", "--max-usd", "5", "--json"))["budget_cap"] is None


def test_nothing_is_planned_nor_launched_that_is_not_left(shell: Shell) -> None:
    plan_id = json.loads(shell.good("plan", "--json"))["plan_id"]
    shell.good("budget", "set", "project", "research", "10")
    take(shell, "10")
    for arguments in (
        ("plan",),
        ("run", "--yes", "--max-usd", "5"),
        ("run", "--plan", plan_id, "--yes", "--max-usd", "5"),
    ):
        done = shell.run(*arguments)
        assert done.code == ExitCode.OVER_BUDGET, arguments
        assert "budget of project research leaves $0.00 of $10.00" in done.stderr
        assert "tunefare budget set" in done.stderr
    # What something would buy is asked whatever is left.
    assert shell.run("plan", "--buys", "20", "--json").code == 0
    assert json.loads(shell.good("runs", "--json").splitlines()[0])["run_id"] == "other-10"


def test_what_each_limit_costs_names_the_budget(shell: Shell) -> None:
    shell.good("budget", "set", "month", "40")
    changes = json.loads(shell.good("plan", "--constraints", "--json"))["constraints"]
    assert changes[0]["change"].startswith("without the month budget ")
    assert changes[0]["added_usd"] == 0


@pytest.mark.parametrize("arguments", [("set", "week", "5"), ("set", "week", "a", "5"), ("remove", "week")])
def test_what_has_no_budget_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert "'week' has no budget" in shell.run("budget", *arguments).stderr
