"""The plan as a terminal shows it, at the widths that people have. TUNEFARE_UPDATE_GOLDEN=1 writes the files anew."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.plan_view import print_plan
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

FOLDER = Path(__file__).parent / "plan_view"


@pytest.mark.parametrize("columns", [80, 120])
def test_plan_in_a_terminal(columns: int) -> None:
    spec = make_spec()
    offers = [make_cpu_offer(), make_gpu_offer(), make_gpu_offer(price=None)]
    plan = make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers,
        created_at_s=1_790_000_000.0,
        notes=["[a] note."],
    )
    out = io.StringIO()
    print_plan(plan, Console(file=out, width=columns, highlight=False), top=10)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    assert max(len(line) for line in text.splitlines()) <= columns
    file = FOLDER / f"{columns}.txt"
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
