"""The memory answer in a terminal and as JSON. TUNEFARE_UPDATE_GOLDEN=1 writes the files anew."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.memory_view import print_memory, report_to_json
from manager.service.memory import Layout
from manager.units import format_bytes
from tests.support.memory_stage import report_of, set_stage

FOLDER = Path(__file__).parent / "memory_view"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("micro_batch", [None, 16])
def test_memory_in_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, micro_batch: int | None
) -> None:
    set_stage(monkeypatch)
    report = report_of(tmp_path, Layout(card="L4", micro_batch=micro_batch))
    out = io.StringIO()
    print_memory(report, Console(file=out, width=columns, highlight=False))
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    assert max(len(line) for line in text.splitlines()) <= columns
    file = FOLDER / f"{'does_not_fit' if micro_batch else 'fits'}_{columns}.txt"
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_memory_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stage(monkeypatch)
    report = report_of(tmp_path, Layout(card="L4", micro_batch=16))
    found = json.loads(json.dumps(report_to_json(report)))
    assert found["schema"] == 1
    assert found["fits"] is False
    assert found["answer"]["needed_bytes"] == report.answer.needed_bytes
    assert sum(found["answer"][line] for line in report.answer.lines()) == found["answer"]["total_bytes"]
    assert [card["name"] for card in found["cards"]] == ["T4", "L4", "A100-80GB", "H200"]
    assert found["cards"][0]["refusal"].endswith("bfloat16")
    larger = next(fix for fix in found["fixes"] if fix["name"] == "larger_card")
    assert (larger["card"], larger["devices"], larger["fits"]) == ("A100-80GB", 1, True)
    assert set(larger) == {
        "name",
        "text",
        "fits",
        "card",
        "devices",
        "length",
        "micro_batch",
        "saved_bytes",
        "more_hours",
        "more_usd",
        "reason",
    }


def test_where_not_even_one_sample_fits_the_least_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stage(monkeypatch, layers=60, hidden=6144)
    report = report_of(tmp_path, Layout(card="L4"))
    least = next(card for card in report.cards if card.name == "L4")
    assert least.micro_batch is None
    assert report.micro_batch > 1
    out = io.StringIO()
    print_memory(report, Console(file=out, width=400, highlight=False))
    line = out.getvalue().splitlines()[1]
    needed, table = format_bytes(least.answer.needed_bytes), format_bytes(report.answer.needed_bytes)
    assert line.startswith(f"{needed} needed on L4 (22.35 GiB) at micro-batch 1, the least: does not fit; ")
    assert f"the table below is of {table}: 16 samples" in line
