"""Device time: roofline, floor of short sequences, and the table of efficiencies."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from manager.catalog.accelerators import accelerator
from manager.workload.device import Device, cpu_device, efficiency, gpu_device
from manager.workload.time import evaluation_seconds, step_seconds
from tests.support.plan_factory import make_data, make_profile, make_spec


def _device(name: str = "L4", precision: str = "fp32", width: int = 384) -> Device:
    specification = accelerator(name)
    assert specification is not None
    device = gpu_device(specification, precision=precision, width=width)
    assert device is not None
    return device


def test_twice_the_tokens_take_about_twice_the_time_on_a_busy_device() -> None:
    short = make_profile("bert-large", data=make_data(tokens=128))
    long = make_profile("bert-large", data=make_data(tokens=256))
    ratio = step_seconds(long, _device(), micro_batch=32) / step_seconds(short, _device(), micro_batch=32)
    assert 1.9 < ratio < 2.2


def test_issuing_ops_is_the_floor_of_a_small_batch() -> None:
    spec = make_spec(batch_size=1)
    fast, slow = _device("H100"), _device("A100")
    profile = make_profile("minilm", spec, make_data(tokens=16))
    times = {step_seconds(profile, device, micro_batch=1) for device in (fast, slow)}
    assert len(times) == 1
    assert min(times) > 6 * 24 * fast.issue_s_per_op


def test_smaller_micro_batches_never_save_time() -> None:
    profile = make_profile("bert-base")
    times = [step_seconds(profile, _device(), micro_batch=size) for size in (32, 8, 1)]
    assert times == sorted(times)


def test_replicas_share_the_batch() -> None:
    profile = make_profile("bert-large", data=make_data(tokens=256))
    one = step_seconds(profile, _device(), micro_batch=8)
    four = step_seconds(profile, _device(), micro_batch=8, replicas=4)
    assert 0.24 < four / one < 0.35


def test_lora_is_faster_than_full_and_frozen_faster_than_lora() -> None:
    device = _device("H100", "bf16", width=4096)
    times = [
        step_seconds(make_profile("mistral", make_spec(method=method, precision="bf16")), device, micro_batch=32)
        for method in ("full", "lora", "frozen")
    ]
    assert times[0] > times[1] > times[2]


def test_evaluation_costs_a_third_of_training_at_most() -> None:
    profile = make_profile("bert-large", data=make_data(tokens=256))
    training = step_seconds(profile, _device(), micro_batch=32)
    evaluation = evaluation_seconds(profile, _device(), samples=32, micro_batch=32)
    assert evaluation < 0.4 * training


def test_a_device_without_the_regime_is_none() -> None:
    specification = accelerator("V100")
    assert specification is not None
    assert gpu_device(specification, precision="bf16", width=768) is None
    assert gpu_device(specification, precision="fp32", width=768) is not None


def test_narrow_models_reach_less_of_the_tensor_cores() -> None:
    assert (
        _device("H100", "bf16", width=384).matmul_flops_per_s < _device("H100", "bf16", width=4096).matmul_flops_per_s
    )


def test_a_cpu_computes_with_its_cores() -> None:
    device = cpu_device(vcpus=4, flops_per_s_per_vcpu=40e9, memory_bytes_per_s=20e9)
    assert device.matmul_flops_per_s == pytest.approx(160e9)
    assert device.is_cpu


def test_each_row_of_the_table_is_complete_and_names_a_known_accelerator() -> None:
    text = files("manager.workload").joinpath("data", "efficiency.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        assert row["accelerator"] in {"*", "cpu"} or accelerator(row["accelerator"]) is not None
        assert 0 < float(row["matmul_bf16"]) <= 1
        assert 0 < float(row["matmul_fp32"]) <= 1
        assert 0 < float(row["bandwidth"]) <= 1
        assert row["source"]
        assert row["as_of"]


def test_an_accelerator_without_a_row_takes_the_row_of_all_others() -> None:
    assert efficiency("no such card") == efficiency("*")
