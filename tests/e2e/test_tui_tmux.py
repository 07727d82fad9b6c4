"""The application as a person uses it, in a real terminal and by keys alone: from `tunefare` to the report of a run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, trainers_of, write_news, write_tiny_model
from tests.support.tmux_stage import PROMPT, TMUX, Tmux

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(TMUX is None, reason="tmux is not installed"),
]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    started = Tmux(
        tmp_path,
        environment={
            "TUNEFARE_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TERM": "xterm-256color",
        },
    )
    yield started
    started.close()
    left = trainers_of(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def start(terminal: Tmux) -> None:
    """`tunefare` for the first time; the tour comes by itself."""
    terminal.wait_for(PROMPT)
    terminal.type("tunefare")
    terminal.press("Enter")
    terminal.wait_for("Tour · 1 of", "[1 Plan]")


def fill_in(terminal: Tmux, values: dict[int, str]) -> None:
    """Go through the form by Tab; type values into the fields of these numbers, the first is 0."""
    terminal.press("e")
    # Letters are keys of the screen until the form has the focus; F4 is its key for YAML.
    terminal.wait_for("f4 YAML")
    for number in range(max(values) + 1):
        if number in values:
            terminal.press("C-u")
            terminal.type(values[number])
            terminal.wait_for(values[number][-20:])
        if number < max(values):
            terminal.tab()
    terminal.press("Escape")


def test_from_the_first_start_to_the_report_of_a_run(tmp_path: Path, terminal: Tmux) -> None:
    model, data = write_tiny_model(tmp_path / "tiny-model"), write_news(tmp_path)
    start(terminal)
    terminal.press("Escape")
    terminal.wait_until(lambda shown: "Tour" not in shown and "y YAML" in shown, what="the end of the tour")

    # Model, data, maximum length and clouds; the model reads 64 tokens, and this machine is the one to plan for.
    fill_in(terminal, {0: os.path.relpath(model, tmp_path), 1: data.name, 11: "64", 20: "local"})
    terminal.wait_until(lambda shown: "no offer" not in shown and "1 row" in shown, what="the plan")
    terminal.press("C-l")
    terminal.wait_for("y launches", "at most")
    assert not (tmp_path / "home" / "ledger.sqlite3").exists() or not runs(tmp_path)
    terminal.press("y")
    terminal.wait_for("[2 Run]")
    terminal.wait_for("succeeded", timeout_s=240)

    (run,) = runs(tmp_path)
    assert run["state"] == "succeeded"
    terminal.press("r")
    terminal.wait_for("[4 Reports]", "Accuracy", run["run_id"][:12])
    terminal.press("q")
    terminal.wait_for(PROMPT, timeout_s=30)
    assert "Traceback" not in terminal.screen()
    shown = Cli(folder=tmp_path).run("show", run["run_id"], "--json")
    assert [evidence["confirmed"] for evidence in json.loads(shown.stdout)["evidence"]] == [True]


def runs(folder: Path) -> list[dict[str, Any]]:
    """What the ledger has."""
    return Cli(folder=folder).json_lines("runs", "--json")


def test_the_tour_ends_in_a_plan_without_an_account(terminal: Tmux, tmp_path: Path) -> None:
    start(terminal)
    for number in range(2, 7):
        terminal.press("Enter")
        terminal.wait_for(f"Tour · {number} of 6")
    terminal.wait_for("The cheapest: ", " to $", "expected in", timeout_s=180)
    terminal.press("Enter")
    terminal.wait_until(lambda shown: "Tour" not in shown, what="the end of the tour")
    terminal.press("q")
    terminal.wait_for(PROMPT)
    assert not (tmp_path / "home" / "ledger.sqlite3").exists()
