"""`plans`, `check`, and a saved plan up to its launch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import write_news, write_run_file
from tests.support.in_process import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    write_news(tmp_path)
    write_run_file(tmp_path, model="bert-base-uncased", data="news.csv", where={"clouds": ["aws"]})
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def made(shell: Shell) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(shell.good("plan", "--json"))
    return plan


def test_plans_are_listed(shell: Shell) -> None:
    assert "no saved plans" in shell.run("plans").stderr
    plan = made(shell)
    choice = plan["offers"][0]
    (entry,) = map(json.loads, shell.good("plans", "--json").splitlines())
    assert entry["plan_id"] == plan["plan_id"]
    assert entry["model"] == "bert-base-uncased"
    assert entry["expected_usd"] == choice["cost_usd"]["expected"]
    assert entry["price_age_s"] == pytest.approx(choice["price_age_s"], abs=60)
    text = shell.good("plans")
    for word in (plan["plan_id"], "tiny", "$", "days old"):
        assert word in text


@pytest.mark.parametrize("columns", [80, 200])
def test_plans_fit_the_terminal(shell: Shell, columns: int) -> None:
    plan = made(shell)
    shell.monkeypatch.setenv("COLUMNS", str(columns))
    lines = shell.good("plans").splitlines()
    assert max(map(len, lines)) <= columns
    machine = plan["offers"][0]["instance_type"]
    # Neither an id nor a machine's name is broken in the middle.
    for word in (plan["plan_id"], f"/{machine}/", "bert-base-uncased"):
        assert any(word in line for line in lines), word
    assert len(lines) == (2 if columns == 200 else 4)


def test_plans_are_pruned(shell: Shell) -> None:
    made(shell)
    assert shell.run("plans", "--keep", "3").code == 2
    done = shell.run("plans", "--prune", "--keep", "0")
    assert (done.code, done.stdout) == (0, "")
    assert "1 saved plans deleted" in done.stderr


def test_a_saved_plan_becomes_a_task(shell: Shell) -> None:
    plan = made(shell)
    done = shell.run("run", "--plan", plan["plan_id"][:7], "--render")
    assert done.code == 0, done.stderr
    assert f'instance_type: "{plan["offers"][0]["instance_type"]}"' in done.stdout
    assert "costs what it did" in done.stderr


def test_its_data_has_changed(shell: Shell) -> None:
    plan_id = made(shell)["plan_id"]
    write_news(shell.folder, rows=180)
    done = shell.run("run", "--plan", plan_id, "--render")
    assert done.code == 2
    assert "has changed since" in done.stderr
    anew = shell.run("run", "--plan", plan_id, "--replan", "--render")
    assert anew.code == 0, anew.stderr
    assert f"plan {plan_id} made anew as " in anew.stderr


def test_its_price_has_moved_past_the_cap(shell: Shell) -> None:
    plan_id = made(shell)["plan_id"]
    file = shell.folder / "home" / "plans" / f"{plan_id}.json"
    plan = json.loads(file.read_text())
    plan["spec"]["budget"]["max_usd"] = plan["offers"][0]["cost_usd"]["expected"] / 2
    file.write_text(json.dumps(plan))
    done = shell.run("run", "--plan", plan_id, "--yes", "--max-usd", str(plan["spec"]["budget"]["max_usd"]))
    assert done.code == 4
    assert "over the cap of" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--plan", "zzz"), "there is no saved plan zzz"),
        (("--plan", "zzz", "--on", "aws"), "a saved plan has its machine already"),
        (("other.yaml", "--plan", "zzz"), "other.yaml and --plan are two questions"),
        (("--replan",), "--replan is for --plan"),
        (("--plan", "zzz", "--yes"), "--yes needs --max-usd"),
    ],
)
def test_wrong_command_lines(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    done = shell.run("run", *arguments)
    assert done.code == 2
    assert message in done.stderr


def test_a_moved_price_is_noted_once(shell: Shell) -> None:
    write_run_file(shell.folder, model="bert-base-uncased", data="news.csv", where={"clouds": ["local"]})
    first = made(shell)["plan_id"]
    (shell.folder / "home" / "config.toml").write_text("local_price_usd_per_hour = 0.15\n")
    moved = f"which plan {first} chose for the same question, has moved since: $0.10/h then, $0.15/h now (+50.0 %)"
    assert moved in " ".join(shell.good("plan").split())
    assert "has moved since" not in shell.good("plan")


def test_run_files_are_checked(shell: Shell) -> None:
    assert shell.run("check", "tunefare.yaml").code == 0
    (shell.folder / "bad.yaml").write_text("schema: 1\nmodel: m\ndata: d\nmethd: lora\n")
    (shell.folder / "none.yaml").write_text("- 1\n")
    done = shell.run("check", "tunefare.yaml", "bad.yaml", "none.yaml", "missing.yaml")
    assert done.code == 2
    assert done.stderr.count("tunefare: error: ") == 3
    assert "bad.yaml:4" in done.stderr
