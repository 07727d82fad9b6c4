"""The worth of a tuning in a terminal and as JSON. TUNEFARE_UPDATE_GOLDEN=1 writes the files anew."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.worth_view import print_worth, worth_to_json
from manager.planner.tuning import FROZEN, LORA, SMALLER
from manager.planner.worth import worth_of
from manager.planner.worth_question import Question
from manager.planner.worth_rules import recommend
from manager.service.worth import WorthReport
from tests.support.plan_factory import make_spec
from tests.support.worth_factory import question, tuning

FOLDER = Path(__file__).parent / "worth_view"
QUESTIONS = {
    "points": question(baseline="0.81", target="0.90", usd_per_point="5", once_usd="1.50"),
    "bill": question(replaces_usd_per_month="900", serving_usd_per_month="150", once_usd="2000", again_every_months=5),
    "unknown": question(replaces_usd_per_month="900"),
    "beyond_perfect": question(baseline="0.98", target="0.99", usd_per_point="8"),
}


def report_of(asked: Question) -> WorthReport:
    """A job with three alternatives, one of them measured, and one that cannot be planned."""
    own = worth_of(asked, tuning())
    others = (
        tuning(FROZEN, usd=("0.5", "1", "2")),
        tuning(LORA, usd=None),
        tuning(SMALLER, usd=("1", "2.5", "4"), measured=(0.84, 0.86)),
    )
    weighed = tuple(worth_of(asked, replace(other, method="lora"), same_gain=own.gain) for other in others)
    return WorthReport(
        spec=make_spec(),
        question=asked,
        asked=own,
        alternatives=weighed,
        recommendation=recommend(asked, own, weighed),
        notes=("labelling and people are not counted.",),
    )


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", QUESTIONS)
def test_worth_in_a_terminal(name: str, columns: int) -> None:
    out = io.StringIO()
    print_worth(report_of(QUESTIONS[name]), Console(file=out, width=columns, highlight=False))
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    assert max(len(line) for line in text.splitlines()) <= columns
    check(FOLDER / f"{name}_{columns}.txt", text)


def test_worth_as_json() -> None:
    told = worth_to_json(report_of(QUESTIONS["points"]))
    check(FOLDER / "points.json", json.dumps(told, indent=2, allow_nan=False) + "\n")
    for lines, net in ((told["asked"]["lines"], told["asked"]["net_usd"]),):
        for end in ("low", "expected", "high"):
            assert sum(line["total_usd"][end] for line in lines) == pytest.approx(net[end])


def check(file: Path, text: str) -> None:
    """Against the file, or write it."""
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
