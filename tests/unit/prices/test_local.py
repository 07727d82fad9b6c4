"""This machine as an offer: what the driver says, and a price that may be unknown."""

import subprocess
from decimal import Decimal
from typing import Any

import pytest

from manager.prices import local
from manager.prices.local import LocalDevice, accelerator_name, detect_device, local_offer

CPU = LocalDevice(
    name="Some CPU",
    accelerator=None,
    accelerator_count=0,
    accelerator_memory_bytes=None,
    cpu_model="Some CPU",
    physical_cores=4,
    logical_cores=8,
    memory_bytes=32 * 2**30,
    available_memory_bytes=20 * 2**30,
    max_clock_hz=3e9,
    isa=("avx2",),
)


_THREE_GPUS = "GPU-0a, NVIDIA L4, 23034\nGPU-1b, NVIDIA L40S, 46068\nGPU-2c, NVIDIA L40S, 46068\n"


@pytest.fixture(autouse=True)
def _all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def _driver(monkeypatch: pytest.MonkeyPatch, output: str, returncode: int = 0) -> None:
    def run(command: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[0] == "nvidia-smi"
        return subprocess.CompletedProcess(command, returncode, stdout=output, stderr="")

    monkeypatch.setattr("manager.prices.local.subprocess.run", run)
    monkeypatch.setattr(local, "_cpu_model", lambda: "Some CPU")


@pytest.mark.parametrize(
    ("driver_name", "mebibytes", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", 81920, "A100-80GB-SXM"),
        ("NVIDIA A100-SXM4-40GB", 40960, "A100"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100-SXM"),
        ("NVIDIA H100 PCIe", 81559, "H100-PCIE"),
        ("NVIDIA H200", 143771, "H200"),
        ("Tesla T4", 15360, "T4"),
        ("Tesla V100-SXM2-16GB", 16384, "V100"),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX4090"),
        ("NVIDIA RTX A6000", 49140, "RTXA6000"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX6000-Ada"),
        ("NVIDIA L4", 23034, "L4"),
        ("NVIDIA L40S", 46068, "L40S"),
        ("NVIDIA GeForce GTX 1660", 6144, "NVIDIA GeForce GTX 1660"),
    ],
)
def test_names_of_the_driver(driver_name: str, mebibytes: int, name: str) -> None:
    assert accelerator_name(driver_name, mebibytes * 2**20) == name


def test_largest_gpu_and_its_equals_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    _driver(monkeypatch, _THREE_GPUS)
    device = detect_device()
    assert (device.accelerator, device.accelerator_count) == ("L40S", 2)
    assert device.accelerator_memory_bytes == 46068 * 2**20


@pytest.mark.parametrize(("output", "returncode"), [("", 0), ("No devices were found\n", 6), ("garbage\n", 0)])
def test_driver_without_gpu_leaves_the_cpu(monkeypatch: pytest.MonkeyPatch, output: str, returncode: int) -> None:
    _driver(monkeypatch, output, returncode)
    device = detect_device()
    assert (device.accelerator, device.accelerator_count, device.name) == (None, 0, "Some CPU")


def test_no_driver_or_one_that_hangs_leaves_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (FileNotFoundError("nvidia-smi"), subprocess.TimeoutExpired("nvidia-smi", 10)):

        def run(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr("manager.prices.local.subprocess.run", run)
        assert detect_device().accelerator is None


def test_this_machine_has_memory_and_cores() -> None:
    device = detect_device()
    assert device.logical_cores >= 1
    assert 0 < device.available_memory_bytes <= device.memory_bytes


def test_processor_features_are_read_from_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.prices.local.platform.system", lambda: "Linux")
    monkeypatch.setattr(local, "_cpuinfo", lambda: {"flags": "fpu avx2 avx512f amx_tile amx_bf16"})
    assert local._isa() == ("avx2", "avx512", "amx", "amx_bf16")


def test_offer_of_a_cpu() -> None:
    offer = local_offer(CPU, Decimal("0.10"), price_source="assumption")
    assert offer.key == "local/-/-/cpu/on-demand"
    assert offer.accelerator_memory_bytes == 20 * 2**30
    assert (offer.vcpus, offer.price_usd_per_hour, offer.price_source) == (4.0, Decimal("0.10"), "assumption")


@pytest.mark.parametrize("price", [None, Decimal(0), Decimal(-1), Decimal("NaN")])
def test_price_that_is_none_is_unknown(price: Decimal | None) -> None:
    offer = local_offer(CPU, price)
    assert (offer.price_usd_per_hour, offer.flags) == (None, ("unknown_price",))


def test_of_several_gpus_the_offer_has_one_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _driver(monkeypatch, _THREE_GPUS)
    device = detect_device()
    offer = local_offer(device, Decimal(1))
    assert device.accelerator_uuid == "GPU-1b"
    assert (offer.accelerator, offer.accelerator_count, offer.flags) == ("L40S", 1.0, ("one_of_several_gpus",))


@pytest.mark.parametrize(
    ("visible", "uuid", "count"),
    [
        ("0", "GPU-0a", 1),
        ("2", "GPU-2c", 1),
        ("2,1", "GPU-2c", 2),
        ("GPU-2", "GPU-2c", 1),
        ("0,-1,1", "GPU-0a", 1),
        ("0,9,1", "GPU-0a", 1),
        ("", None, 0),
        ("-1", None, 0),
    ],
)
def test_gpus_that_cuda_does_not_see_are_not_offered(
    monkeypatch: pytest.MonkeyPatch, visible: str, uuid: str | None, count: int
) -> None:
    _driver(monkeypatch, _THREE_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device = detect_device()
    assert (device.accelerator_uuid, device.accelerator_count) == (uuid, count)
