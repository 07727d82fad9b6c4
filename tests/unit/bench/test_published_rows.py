"""Tests of the bench's reading of published rows: numbers, units and metrics as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.published.rates import rate_of
from tests.bench.published.rows import GIB, MIB, Row, TableError, memory_of, number_in, read_table


def row(**cells: str) -> Row:
    """A made-up row."""
    return Row(table="made-up.csv", number=1, cells=cells)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", None),
        ("n/a", None),
        ("12", 12.0),
        ("1,024", 1024.0),
        ("~7.5 GB", 7.5),
        ("72-80", 76.0),
        ("224px", 224.0),
        ("2e-4", 2e-4),
    ],
)
def test_numbers_of_cells(cell: str, expected: float | None) -> None:
    assert number_in(cell) == expected


@pytest.mark.parametrize(
    ("unit", "metric", "unit_bytes", "kind"),
    [
        ("GB (1e9)", "torch max_memory_allocated", 1e9, "allocated"),
        ("GB", "torch max_memory_allocated", 1e9, "allocated"),
        ("GiB", "torch peak reserved per GPU", GIB, "reserved"),
        ("MiB", "nvidia-smi", MIB, "device"),
        ("GB", "nvidia-smi used", GIB, "device"),
        ("GiB", "nvidia-smi peak per GPU minus idle", GIB, "device-idle"),
    ],
)
def test_memory_knows_its_unit_and_metric(unit: str, metric: str, unit_bytes: float, kind: str) -> None:
    memory = memory_of(row(peak_memory_gb="20.5", peak_memory_unit=unit, memory_metric=metric))
    assert memory is not None
    assert (memory.value, memory.unit_bytes, memory.metric) == (20.5, unit_bytes, kind)


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("peak_memory_alloc", "allocated"),
        ("peak_alloc_gb", "allocated"),
        ("torch.cuda.max_memory_allocated()", "allocated"),
        ("torch alloc", "allocated"),
        ("max_memory_reserved", "reserved"),
    ],
)
def test_metrics_as_programs_write_them(metric: str, kind: str) -> None:
    memory = memory_of(row(peak_memory_gb="20.5", peak_memory_unit="GB", memory_metric=metric))
    assert memory is not None
    assert memory.metric == kind


def test_memory_of_an_unnamed_metric_is_no_measurement() -> None:
    assert memory_of(row(peak_memory_gb="20.5", peak_memory_unit="GB")) is None


@pytest.mark.parametrize(
    ("unit", "per", "whole"),
    [
        ("tokens/s/GPU", "token", False),
        ("tokens/s whole system", "token", True),
        ("items/s per GPU", "sample", False),
        ("queries/s", "sample", True),
        ("micro-batch iterations/s per GPU", "micro-step", False),
        ("steps/s", "step", True),
    ],
)
def test_rates_know_what_they_count(unit: str, per: str, whole: bool) -> None:
    rate = rate_of(row(throughput="100", throughput_unit=unit, step_time_s="0.5"))
    assert rate is not None
    assert (rate.value, rate.per, rate.whole_system) == (100.0, per, whole)


@pytest.mark.parametrize(
    ("unit", "value", "per", "whole"),
    [
        ("s/100 steps", 0.02, "seconds-step", True),
        ("seconds per 1,000 iterations", 0.002, "seconds-step", True),
        ("min per 1k steps", 0.12, "seconds-step", True),
        ("step time (s)", 2.0, "seconds-step", True),
        ("iteration time in ms", 0.002, "seconds-step", True),
        ("time per training step (ms)", 0.002, "seconds-step", True),
        ("min/epoch", 25.0, "sample", True),
        ("hours per epoch", 3000 / 7200, "sample", True),
        ("billion tokens/day", 2e9 / 86400, "token", True),
        ("B tokens/day", 2e9 / 86400, "token", True),
        ("1000 tokens/s/GPU", 2000.0, "token", False),
        ("tokens/s (each GPU)", 2.0, "token", False),
        ("tokens/s [per-device]", 2.0, "token", False),
        ("tokens/s (aggregate over 8 GPUs)", 2.0, "token", True),
    ],
)
def test_units_as_people_vary_them(unit: str, value: float, per: str, whole: bool) -> None:
    rate = rate_of(row(throughput="2", throughput_unit=unit, n_examples="3000"))
    assert rate is not None
    assert rate.value == pytest.approx(value)
    assert (rate.per, rate.whole_system) == (per, whole)


@pytest.mark.parametrize("unit", ["tokens/s/node", "samples/s per host", "min/epoch", "GPU-hours", "TFLOP/s/GPU"])
def test_speeds_that_cannot_be_told(unit: str) -> None:
    assert rate_of(row(throughput="2", throughput_unit=unit)) is None


@pytest.mark.parametrize(
    ("cell", "value", "per"),
    [("400 ms", 0.4, "seconds-step"), ("1:20", 80.0, "seconds-step"), ("1.5 it/s", 1.5, "step")],
)
def test_step_times_as_people_write_them(cell: str, value: float, per: str) -> None:
    rate = rate_of(row(step_time_s=cell))
    assert rate is not None
    assert (rate.value, rate.per) == (value, per)


def test_step_time_stands_in_for_a_missing_rate() -> None:
    rate = rate_of(row(step_time_s="0.5"))
    assert rate is not None
    assert (rate.value, rate.per) == (0.5, "seconds-step")
    assert rate_of(row(throughput="", step_time_s="")) is None


def test_table_with_missing_and_unknown_columns(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,model,colour\na-1,bert-base-uncased,blue\n,gpt2,\n", encoding="utf-8")
    first, second = read_table(path)
    assert (first.key, first.source, first.text("model")) == ("a-1", "table", "bert-base-uncased")
    assert (second.key, second.value("micro_batch")) == ("table-2", None)


@pytest.mark.parametrize("text", ["", None])
def test_table_without_content_is_an_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError):
        read_table(path)
