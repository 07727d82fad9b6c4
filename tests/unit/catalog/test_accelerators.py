"""The accelerator table: names, aliases, TPU slices, plausibility of each row."""

import csv
from importlib.resources import files

import pytest

from manager.catalog.accelerators import accelerator, variant_in


def _names() -> list[str]:
    text = files("manager.catalog").joinpath("data", "accelerators.csv").read_text(encoding="utf-8")
    return [row["name"] for row in csv.DictReader(text.splitlines())]


@pytest.mark.parametrize("name", _names())
def test_rows_are_plausible_dated_and_sourced(name: str) -> None:
    row = accelerator(name)
    assert row is not None
    assert row.name == name
    assert 4 * 2**30 < row.memory_bytes < 400 * 2**30
    for rate in (row.peak_bf16_flops_per_s, row.peak_fp16_flops_per_s, row.peak_tf32_flops_per_s):
        assert rate is None or 1e12 < rate < 1e16
    assert (
        row.peak_bf16_flops_per_s is None
        or row.peak_tf32_flops_per_s is None
        or (row.peak_tf32_flops_per_s <= row.peak_bf16_flops_per_s)
    )
    assert row.memory_bandwidth_bytes_per_s is not None
    assert 1e11 < row.memory_bandwidth_bytes_per_s < 1e13
    assert row.certainty in ("high", "medium", "low")
    assert row.as_of >= "2026-01-01"
    assert row.source
    assert row.memory_source


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("RTX_4090", "RTX4090"),
        ("rtx4090", "RTX4090"),
        ("A6000", "RTXA6000"),
        ("H200-SXM", "H200"),
        ("A100-40GB", "A100"),
        ("RTXPRO6000S", "RTXPRO6000"),
    ],
)
def test_other_spellings(alias: str, name: str) -> None:
    found = accelerator(alias)
    assert found is not None
    assert found.name == name


def test_aliases_point_at_rows_and_shadow_none() -> None:
    names = set(_names())
    text = files("manager.catalog").joinpath("data", "accelerator_aliases.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["name"] for row in rows} <= names
    assert not {row["alias"] for row in rows} & names
    assert len({row["alias"].casefold() for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("name", "chips", "memory_gib"),
    [("tpu-v5litepod-8", 8, 16), ("tpu-v6e-4", 4, 32), ("tpu-v4-8", 4, 32), ("tpu-v3-8", 4, 32), ("TPU-v5e-1", 1, 16)],
)
def test_tpu_slice_is_chips_of_its_generation(name: str, chips: int, memory_gib: int) -> None:
    found = accelerator(name)
    assert found is not None
    assert (found.kind, found.chips, found.memory_bytes) == ("tpu", chips, memory_gib * 2**30)


@pytest.mark.parametrize(
    ("name", "bf16_tflops", "bandwidth_gb_per_s", "link_gb_per_s"),
    [
        ("A10G", 70, 600, None),
        ("A10", 125, 600, None),
        ("L4", 121, 300, None),
        ("L40S", 362, 864, None),
        ("A100", 312, 1555, 600),
        ("A100-80GB-SXM", 312, 2039, 600),
        ("H100", 989, 3350, 900),
        ("H200", 989, 4800, 900),
        ("B200", 2250, 8000, 1800),
        ("MI250", 181.05, 1638.5, 300),
        ("MI250X", 191.5, 1638.5, 400),
        ("MI300X", 1307, 5300, 896),
        ("tpu-v5litepod", 197, 819, 200),
        ("tpu-v6e", 918, 1640, 448),
        ("Gaudi2", 432, 2460, 600),
    ],
)
def test_dense_peaks_of_data_sheets(
    name: str, bf16_tflops: float, bandwidth_gb_per_s: float, link_gb_per_s: float | None
) -> None:
    found = accelerator(name)
    assert found is not None
    assert found.peak_bf16_flops_per_s == bf16_tflops * 1e12
    assert found.memory_bandwidth_bytes_per_s == bandwidth_gb_per_s * 1e9
    assert found.interconnect_bytes_per_s == (None if link_gb_per_s is None else link_gb_per_s * 1e9)


@pytest.mark.parametrize("name", _names())
def test_source_names_the_makers_document(name: str) -> None:
    found = accelerator(name)
    assert found is not None
    documents = ("data sheet", "white paper", "specifications", "cloud.google.com/tpu", "Neuron documentation")
    assert any(document in found.source for document in documents) or found.certainty == "low"


def test_missing_hardware_is_none_not_zero() -> None:
    for name in ("V100", "T4", "P100", "K80"):
        found = accelerator(name)
        assert found is not None
        assert not found.supports_bf16
        assert found.peak_tf32_flops_per_s is None


@pytest.mark.parametrize("name", ["", "Radeon MI25", "tpu-v99-8", "H1000"])
def test_unknown_names_have_no_specification(name: str) -> None:
    assert accelerator(name) is None


@pytest.mark.parametrize(
    ("instance_type", "count", "name"),
    [
        ("p4de.24xlarge", 8, "A100-80GB-SXM"),
        ("a2-ultragpu-4g", 4, "A100-80GB-SXM"),
        ("Standard_ND96amsr_A100_v4", 8, "A100-80GB-SXM"),
        ("gpu_8x_a100_80gb_sxm4", 8, "A100-80GB-SXM"),
        ("Standard_NC96ads_A100_v4", 4, "A100-80GB"),
        ("2x_A100-80GB_SECURE", 2, "A100-80GB"),
        (None, 8, "A100-80GB"),
    ],
)
def test_machines_that_link_all_their_cards_hold_the_sxm_card(
    instance_type: str | None, count: float, name: str
) -> None:
    assert variant_in("A100-80GB", instance_type=instance_type, count=count) == name
    assert accelerator(name) is not None
    assert variant_in("A100", instance_type=instance_type, count=count) == "A100"
