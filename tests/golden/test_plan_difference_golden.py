"""The difference of two plans as a comment on a pull request and in a terminal. TUNEFARE_UPDATE_GOLDEN=1 writes the
files anew."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.diff_view import print_difference
from manager.planner.difference import PlanDifference, difference
from manager.planner.difference_limits import Limits, exceeded
from manager.planner.plan import Plan
from manager.reports.plan_difference_markdown import difference_markdown
from manager.spec.model import RunSpec
from manager.units import usd
from tests.support.diff_stage import fixed_plan

FOLDER = Path(__file__).parent / "plan_difference"


def dearer() -> tuple[Plan, Plan]:
    """More epochs and samples at a time, where spot of another kind became the cheapest."""
    old = fixed_plan(dollars="1.20", hours=0.5)
    new = fixed_plan(dollars="2.75", hours=1.25, epochs=5.0, batch_size=64, machine="L40S", memory_gib=20)
    return old, new


def named_by_an_enemy() -> tuple[Plan, Plan]:
    """Columns and models whose names are Markdown, HTML and a mention."""
    old, new = dearer()
    text = "a|b</details><script>x</script> [l](http://e) `c` @org/team\n# h $x$"
    spec: RunSpec = replace(new.spec, data=replace(new.spec.data, text=text))
    return old, replace(new, spec=spec, profile=replace(new.profile, model=text))


def refused() -> tuple[Plan, Plan]:
    """The cap rules everything out."""
    old = fixed_plan(dollars="1.20", hours=0.5)
    return old, fixed_plan(dollars="1.20", hours=0.5, max_usd="1")


CASES = {"dearer": dearer, "enemy": named_by_an_enemy, "refused": refused}


def found(case: str) -> tuple[PlanDifference, tuple[str, ...]]:
    answer = difference(*CASES[case]())
    return answer, exceeded(answer, Limits(usd=usd(1), percent=usd(10)))


@pytest.mark.parametrize("case", CASES)
def test_comment_on_a_pull_request(case: str) -> None:
    answer, over = found(case)
    check(FOLDER / f"{case}.md", difference_markdown(answer, title="runs/news.yaml", over=over))


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal(columns: int) -> None:
    answer, over = found("dearer")
    out = io.StringIO()
    print_difference(answer, Console(file=out, width=columns, highlight=False), name="runs/news.yaml", over=over)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    assert max(len(line) for line in text.splitlines()) <= columns
    check(FOLDER / f"{columns}.txt", text)


def check(file: Path, text: str) -> None:
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
