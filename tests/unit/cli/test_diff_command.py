"""`tunefare diff`, from real run files to the exit code."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import write_news, write_run_file
from tests.support.diff_stage import committed, git
from tests.support.in_process import Shell

AWS = {"clouds": ["aws"]}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """With `tunefare.yaml` of two epochs and `new.yaml` of forty, on AWS."""
    write_news(tmp_path)
    run_file(tmp_path, "new.yaml", epochs=40)
    run_file(tmp_path, "tunefare.yaml", epochs=2)
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def run_file(folder: Path, name: str, *, epochs: int, **changes: Any) -> None:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    training = {"epochs": epochs}
    file = write_run_file(scratch, model="bert-base-uncased", data="news.csv", where=AWS, training=training, **changes)
    file.rename(folder / name)


def differ(shell: Shell, *arguments: str | Path, stdin: str = "") -> dict[str, Any]:
    record: dict[str, Any] = json.loads(shell.good("diff", *arguments, "--json", stdin=stdin), parse_float=Decimal)
    return record


def test_two_run_files(shell: Shell) -> None:
    record = differ(shell, "tunefare.yaml", "new.yaml")
    asked = {change["name"]: (change["old"], change["new"]) for change in record["question"]}
    assert asked == {"training.epochs": ("2", "40")}
    *lines, total = record["cost_usd"]
    assert sum(line["change_usd"] for line in lines) == total["change_usd"] > 0
    assert record["old"]["price_usd_per_hour"] == record["new"]["price_usd_per_hour"]
    assert record["memory"]["lines"][-1]["change_bytes"] == 0


def test_both_are_saved_and_their_ids_give_the_same_answer(shell: Shell) -> None:
    record = differ(shell, "tunefare.yaml", "new.yaml")
    again = differ(shell, record["old"]["plan_id"], record["new"]["plan_id"][:6])
    assert again["cost_usd"] == record["cost_usd"]


def test_equal_files_have_no_difference(shell: Shell) -> None:
    done = shell.run("diff", "tunefare.yaml", "tunefare.yaml", "--fail-over-usd", "0", "--fail-over-percent", "0")
    assert done.code == 0
    assert "no difference" in done.stdout


@pytest.mark.parametrize(
    "option", [("--fail-over-usd", "0.0001"), ("--fail-over-percent", "1%"), ("--fail-over-hours", "0.001")]
)
def test_over_a_limit(shell: Shell, option: tuple[str, str]) -> None:
    done = shell.run("diff", "tunefare.yaml", "new.yaml", *option)
    assert done.code == 6
    assert "over a limit: tiny: expected" in done.stderr
    assert shell.run("diff", "new.yaml", "tunefare.yaml", *option).code == 0


def test_within_the_limits(shell: Shell) -> None:
    limits = ("--fail-over-usd", "$5", "--fail-over-percent", "1000000", "--fail-over-hours", "100h")
    done = shell.run("diff", "tunefare.yaml", "new.yaml", *limits)
    assert (done.code, done.stderr) == (0, "")


def test_a_plan_without_a_choice_is_an_answer_and_over_any_limit(shell: Shell) -> None:
    run_file(shell.folder, "poor.yaml", epochs=2, budget={"max_usd": 0.0001})
    text = shell.good("diff", "tunefare.yaml", "poor.yaml")
    assert "nothing can be chosen any more: the cheapest offer that carries the job" in " ".join(text.split())
    assert shell.run("diff", "tunefare.yaml", "poor.yaml", "--fail-over-usd", "99").code == 6
    back = differ(shell, "poor.yaml", "tunefare.yaml", "--fail-over-usd", "99")
    assert back["cost_usd"][-1]["change_usd"] is None


def test_a_plan_as_json_even_when_it_was_cut(shell: Shell) -> None:
    cut = shell.good("plan", "--json", "--top", "1")
    (shell.folder / "old.json").write_text(cut)
    record = differ(shell, "old.json", "new.yaml")
    assert record["old"]["plan_id"] == json.loads(cut)["plan_id"]
    assert record["cost_usd"][-1]["change_usd"] > 0
    assert differ(shell, "-", "new.yaml", stdin=cut)["cost_usd"] == record["cost_usd"]


def test_standard_input_starts_in_the_folder_of_the_new_file(shell: Shell) -> None:
    text = (shell.folder / "tunefare.yaml").read_text()
    elsewhere = shell.folder / "elsewhere"
    elsewhere.mkdir()
    there = Shell(folder=elsewhere, monkeypatch=shell.monkeypatch, capsys=shell.capsys)
    assert differ(there, "-", "../new.yaml", stdin=text)["question"] == [
        {"name": "training.epochs", "old": "2", "new": "40"}
    ]


def test_an_old_version_in_another_folder(shell: Shell) -> None:
    elsewhere = shell.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "old.yaml").write_text((shell.folder / "tunefare.yaml").read_text())
    done = shell.run("diff", "elsewhere/old.yaml", "new.yaml")
    assert done.code == 2
    assert "news.csv" in done.stderr
    record = differ(shell, "elsewhere/old.yaml", "new.yaml", "--relative-to", ".")
    assert [change["name"] for change in record["question"]] == ["training.epochs"]


def test_two_checkouts_ask_the_same(shell: Shell) -> None:
    other = shell.folder / "base"
    other.mkdir()
    for name in ("news.csv", "tunefare.yaml"):
        (other / name).write_bytes((shell.folder / name).read_bytes())
    assert differ(shell, "base/tunefare.yaml", "tunefare.yaml")["question"] == []


def test_a_revision_of_git(shell: Shell) -> None:
    first = committed(shell.folder, "first")
    run_file(shell.folder, "tunefare.yaml", epochs=9)
    git(shell.folder, "mv", "new.yaml", "added.yaml")
    out = shell.good("diff", "--git", first, "tunefare.yaml", "added.yaml", "--json")
    changed, added = map(json.loads, out.splitlines())
    assert changed["question"] == [{"name": "training.epochs", "old": "2", "new": "9"}]
    assert (changed["name"], added["name"]) == ("tunefare.yaml", "added.yaml")
    assert added["old"] is None
    assert added["cost_usd"][-1]["change_usd"] == added["cost_usd"][-1]["new_usd"]


def test_a_comment_for_a_pull_request(shell: Shell) -> None:
    first = committed(shell.folder, "first")
    run_file(shell.folder, "tunefare.yaml", epochs=9)
    text = shell.good("diff", "--git", first, "tunefare.yaml", "new.yaml", "--markdown")
    assert text.count("### tunefare: <code>") == 2
    assert str(shell.folder) not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diff", "tunefare.yaml"), "diff compares two plans, 1 are given"),
        (("diff", "nothing", "new.yaml"), "nothing is neither a file nor the id of a saved plan"),
        (("diff", "tunefare.yaml", "-"), "only OLD may be standard input"),
        (("diff", "tunefare.yaml", "new.yaml", "--fail-over-usd", "-1"), "--fail-over-usd -1 is no limit"),
        (("diff", "tunefare.yaml", "new.yaml", "--fail-over-usd", "lots"), "'lots' is not an amount in dollars"),
        (("diff", "tunefare.yaml", "new.yaml", "--fail-over-percent", "nan"), "--fail-over-percent NaN is no limit"),
        (("diff", "tunefare.yaml", "new.yaml", "--fail-over-hours", "x"), "--fail-over-hours 'x' is no number"),
        (("diff", "tunefare.yaml", "new.yaml", "--json", "--markdown"), "--markdown and --json exclude each other"),
        (("diff", "tunefare.yaml", "new.yaml", "--relative-to", "none"), "none is no folder"),
        (("diff", "damaged.json", "new.yaml"), "damaged.json: the plan is no JSON"),
        (("diff", "newer.json", "new.yaml"), "newer.json: the plan has schema 99, newer than 1"),
        (("diff", "cut.json", "new.yaml"), "cut.json: the plan was cut before its chosen offer"),
        (("diff", "abc", "new.yaml"), "abc begins 2 saved plans: abc1, abc2"),
        (("diff", "binary.yaml", "new.yaml"), "binary.yaml cannot be read"),
        (("diff", "typo.yaml", "new.yaml"), "unknown key"),
        (("diff", "--git", "main", "tunefare.yaml"), "git knows no revision main"),
        (("diff", "--git", "--help", "tunefare.yaml"), "git knows no revision --help"),
    ],
)
def test_wrong_input(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    (shell.folder / "damaged.json").write_text('{"schema": 1, "plan_id": "x", ')
    (shell.folder / "newer.json").write_text('{"schema": 99, "plan_id": "x"}')
    plans = shell.folder / "home" / "plans"
    plans.mkdir(parents=True)
    for name in ("abc1", "abc2"):
        (plans / f"{name}.json").write_text("{}")
    (shell.folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (shell.folder / "typo.yaml").write_text("schema: 1\nmodle: x\n")
    if "cut.json" in arguments:
        plan = json.loads(shell.good("plan", "--json", "--top", "1"))
        (shell.folder / "cut.json").write_text(json.dumps({**plan, "offers": []}))
    done = shell.run(*arguments)
    assert done.code == 2
    assert message in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
