"""Tests of the bench on figures that say nothing: units, sizes and speeds, each with the reason that is true of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import accuracy
from tests.bench.published import traces
from tests.bench.published.figures import figures_of
from tests.bench.published.ran_out import as_if_measured
from tests.bench.published.recipe import recipe_of
from tests.bench.published.report import Outcome, summary, table_text, write_rows
from tests.bench.published.rows import GB, GIB, MIB, Row, TableError, memory_of, memory_refusal, read_table
from tests.bench.published.traces import Traces
from tests.bench.published.words import NotExpressible

BERT = {
    "model": "bert-base-uncased",
    "method": "full",
    "task": "text classification",
    "seq_len": "512",
    "seq_len_note": "fixed",
    "micro_batch": "8",
    "precision": "fp32",
    "optimizer": "AdamW",
    "framework": "PyTorch",
    "gpu": "A100-SXM4-40GB",
}
MEMORY = {"peak_memory_gb": "20", "peak_memory_unit": "GiB", "memory_metric": "torch max_memory_allocated"}
RATE = {"throughput": "100", "throughput_unit": "samples/s"}


def row(**cells: str) -> Row:
    """A made-up row."""
    return Row(table="made-up.csv", number=1, cells=cells)


@pytest.mark.parametrize(
    ("cell", "unit", "metric", "unit_bytes"),
    [
        ("9", "b", "max_memory_allocated", 1.0),
        ("9", "bytes", "nvidia-smi", 1.0),
        ("9", "KB", "max_memory_allocated", 1e3),
        ("9", "KiB", "max_memory_allocated", 1024.0),
        ("9", "megabytes", "max_memory_allocated", 1e6),
        ("9", "megabytes", "nvidia-smi", MIB),
        ("9", "mebibytes", "max_memory_allocated", MIB),
        ("9", "gigabytes", "max_memory_allocated", GB),
        ("9", "gibibytes", "max_memory_allocated", GIB),
        ("9", "MB", "max_memory_allocated", 1e6),
        ("9", "MB", "nvidia-smi", MIB),
        ("9", "MiB", "max_memory_allocated", MIB),
        ("9", "GB", "nvidia-smi", GIB),
        ("9", "GB (decimal)", "nvidia-smi", GB),
        ("9", "GB (rounded)", "max_memory_allocated", GB),
        ("9", "GiB (MB/1024)", "max_memory_reserved", GIB),
        ("9", "MB/1024", "max_memory_reserved", GIB),
        ("9", "bytes / 2^30", "max_memory_allocated", GIB),
        ("9", "bytes/1024**3", "max_memory_allocated", GIB),
        ("9", "bytes/1e9", "max_memory_allocated", GB),
        ("9", "TB", "max_memory_allocated", 1e12),
        ("9", "", "max_memory_allocated", GB),
        ("9", "", "nvidia-smi", GIB),
        ("9 gibibytes", "", "max_memory_allocated", GIB),
        ("9000 MiB", "GB", "max_memory_allocated", MIB),
        ("26k MiB", "MiB", "max_memory_allocated", MIB),
    ],
)
def test_units_of_memory(cell: str, unit: str, metric: str, unit_bytes: float) -> None:
    memory = memory_of(row(peak_memory_gb=cell, peak_memory_unit=unit, memory_metric=metric))
    assert memory is not None
    assert memory.unit_bytes == unit_bytes


@pytest.mark.parametrize(
    ("cell", "unit"), [("85", "%"), ("85", "percent of 80 GB"), ("85 %", ""), ("9", "pages"), ("9", "Gbit"), ("9", "x")]
)
def test_units_of_memory_that_are_none(cell: str, unit: str) -> None:
    one = row(peak_memory_gb=cell, peak_memory_unit=unit, memory_metric="nvidia-smi")
    assert memory_of(one) is None
    assert memory_refusal(one) == "unit of memory not understood"


@pytest.mark.parametrize("metric", ["max_memory_cached", "torch.cuda.memory_cached()", "max memory cached"])
def test_cached_memory_is_the_older_name_of_reserved(metric: str) -> None:
    memory = memory_of(row(peak_memory_gb="9", peak_memory_unit="GB", memory_metric=metric))
    assert memory is not None
    assert memory.metric == "reserved"


@pytest.mark.parametrize(
    ("gpu", "peak", "exceeds"),
    [
        ("A100-SXM4-40GB", "41", False),
        ("A100-SXM4-40GB", "60", True),
        ("A100", "60", False),
        ("A100", "4096", True),
        ("RTX 3090", "26", True),
        ("a card of our own", "4096", False),
    ],
)
def test_a_peak_beyond_the_card_is_in_another_unit(gpu: str, peak: str, exceeds: bool) -> None:
    found = figures_of(row(**MEMORY | {"peak_memory_gb": peak}, gpu=gpu))
    assert (found.memory is None) == exceeds
    assert found.memory_refusal == ("more than the card holds" if exceeds else "")


def test_a_run_out_of_memory_is_asked_for_whatever_its_card_holds() -> None:
    assert recipe_of(as_if_measured(row(**BERT, oom="yes"))).memory is not None


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"throughput": "9", "throughput_unit": "wps"}, "unit of the rate not understood"),
        ({"throughput": "9", "throughput_unit": "words/s (batch 32)"}, "unit of the rate not understood"),
        ({"throughput": "9", "throughput_unit": "QPS"}, "unit of the rate not understood"),
        ({"throughput": "9", "throughput_unit": "ex/s each"}, "unit of the rate not understood"),
        ({"throughput": "9"}, "unit of the rate is not stated"),
        ({"throughput": "-9", "throughput_unit": "samples/s"}, "rate is not positive"),
        ({"throughput": "9", "throughput_unit": "samples/s/node"}, "rate of a machine whose devices are not counted"),
        ({"throughput": "9", "throughput_unit": "min/epoch"}, "samples of an epoch are not stated"),
        ({"peak_memory_gb": "9", "memory_metric": "peak VRAM"}, "what the memory figure counts is not stated"),
        ({"peak_memory_gb": "-9", "memory_metric": "nvidia-smi"}, "peak of memory is not positive"),
        ({}, "no peak of memory and no rate"),
        (RATE | {"precision": "int4 emulation"}, "precision not understood"),
        (RATE | {"precision": "see code"}, "precision is not stated"),
        (RATE | {"precision": ""}, "precision is not stated"),
        (RATE | {"micro_batch": "-8"}, "micro-batch is not positive"),
        (RATE | {"micro_batch": "0"}, "micro-batch is not positive"),
        (RATE | {"micro_batch": ""}, "micro-batch is not stated"),
        (RATE | {"seq_len": "1024"}, "longer than the model's positions"),
        (RATE | {"model": "roberta-base", "seq_len": "513"}, "longer than the model's positions"),
    ],
)
def test_reasons_are_true(cells: dict[str, str], reason: str) -> None:
    with pytest.raises(NotExpressible) as raised:
        recipe_of(row(**BERT | cells))
    assert str(raised.value) == reason


@pytest.mark.parametrize("model", ["t5-base", "Qwen/Qwen2.5-0.5B", "mpt-1b"])
def test_positions_that_are_computed_bound_no_length(model: str) -> None:
    found = recipe_of(row(**BERT | RATE | {"model": model, "seq_len": "65536", "task": "pretraining"}))
    assert found.samples.length == 65536


def test_a_figure_that_says_nothing_leaves_the_other_with_its_reason() -> None:
    timed = recipe_of(row(**BERT, **RATE, peak_memory_gb="9", memory_metric="peak VRAM"))
    assert (timed.memory, timed.memory_refusal) == (None, "what the memory figure counts is not stated")
    assert timed.rate is not None
    measured = recipe_of(row(**BERT, **MEMORY, throughput="9", throughput_unit="QPS"))
    assert (measured.rate, measured.time_refusal) == (None, "unit of the rate not understood")
    assert measured.memory is not None


def test_reasons_of_one_figure_are_counted_and_written(tmp_path: Path) -> None:
    outcome = Outcome(row=row(), measured_rate=9.0, predicted_rate=8.0, memory_refusal="unit of memory not understood")
    (group,) = summary([outcome])
    assert (group["rows"], group["expressed"]) == (1, 1)
    assert group["unexpressed"] == {"memory: unit of memory not understood": 1}
    assert "1  memory: unit of memory not understood" in table_text([outcome])
    write_rows(tmp_path / "rows.csv", [outcome])
    header, cells = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    written = dict(zip(header.split(","), cells.split(","), strict=True))
    assert (written["memory_not_expressed"], written["not_expressed"]) == ("unit of memory not understood", "")


def test_a_table_of_other_things_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "shopping.csv"
    table.write_text("item,price\nmilk,1\n", encoding="utf-8")
    with pytest.raises(TableError, match="none of the columns"):
        read_table(table)
    assert accuracy.main(["--table", str(table), "--cache", str(tmp_path)]) == 2
    assert "has none of the columns gpu, " in capsys.readouterr().err


class _Pool:
    """Answers in this process."""

    def __init__(self, **_: object) -> None:
        pass

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, _: object, texts: list[str]) -> list[str]:
        return [json.dumps({"refused": "not traced here"}) for _ in texts]


def test_progress_is_told_while_tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "ProcessPoolExecutor", _Pool)
    told: list[str] = []
    requests = [recipe_of(row(**BERT | RATE | {"seq_len": length})).request for length in ("512",)]
    requests.append(recipe_of(row(**BERT | RATE | {"precision": "bf16"})).request)
    Traces(folder=tmp_path, tell=told.append).prepare(requests)
    assert told == ["tracing 1 of 2 recipes", "tracing 2 of 2 recipes"]
    Traces(folder=tmp_path, tell=told.append).prepare(requests)
    assert len(told) == 2
