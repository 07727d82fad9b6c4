"""What an offer means for a job: replicas, link, and why the training program refuses it."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib.resources import files

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.machine import Machine, machine_of, refusal_of
from manager.planner.shape import shape_of
from manager.prices.offer import Offer
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import judge_machine


def machine(offer: Offer, precision: str = "fp32", sharding: str = "ddp") -> Machine | str:
    """The offer's machine for a small classifier."""
    specification = None if offer.accelerator is None else accelerator(offer.accelerator)
    profile = make_profile(spec=make_spec(precision=precision))
    return machine_of(
        profile, shape_of(offer, num_nodes=offer.num_nodes), specification, shipped_assumptions(), sharding=sharding
    )


def as_machine(offer: Offer, precision: str = "fp32") -> Machine:
    """The same where it can be estimated."""
    found = machine(offer, precision)
    assert isinstance(found, Machine), found
    return found


def test_a_tpu_slice_is_estimated_and_refused() -> None:
    offer = make_gpu_offer("tpu-v5litepod-8", price="9.6", cloud="gcp")
    spec = make_spec(precision="bf16")
    found = as_machine(offer, "bf16")
    assert found.replicas == 8
    assert found.speed.software.name == "xla"
    assert found.refusal == "training program does not run there yet: TPU"
    verdict = judge_machine(
        make_profile(spec=spec),
        make_traces(spec=spec),
        offer,
        accelerator("tpu-v5litepod-8"),
        shipped_assumptions(),
        None,
    )
    assert verdict.reason == found.refusal
    assert verdict.is_on_paper
    training = next(phase for phase in verdict.timed if phase.name == "training")
    assert training.low_s < training.expected_s < training.high_s
    gpu = as_machine(make_gpu_offer("A100"), "bf16").speed.band
    assert found.speed.band.high / found.speed.band.low > gpu.high / gpu.low


@pytest.mark.parametrize("precision", ["bf16", "bf16-mixed"])
def test_a_card_without_bfloat16_is_refused(precision: str) -> None:
    t4 = as_machine(make_gpu_offer("T4"), precision)
    assert t4.refusal == "training program does not run there yet: T4 does not compute in bfloat16"
    assert as_machine(make_gpu_offer("L4"), precision).refusal is None
    assert as_machine(make_gpu_offer("T4"), "fp16-mixed").refusal is None


def test_a_processor_trains_no_float16() -> None:
    assert machine(make_cpu_offer(), "fp16-mixed") == (
        "training program does not run there yet: a CPU trains no float16"
    )
    assert as_machine(make_cpu_offer(), "bf16-mixed").is_cpu


@pytest.mark.parametrize(
    ("name", "link"),
    [("H100", "NVLink"), ("L4", "PCIe"), ("T4", "PCIe")],
)
def test_eight_devices_have_a_link_that_the_plan_states(name: str, link: str) -> None:
    offer = make_gpu_offer(name, count=8, price="20")
    found = as_machine(offer)
    assert found.replicas == 8
    assert found.placement.sharding == "ddp"
    assert found.link is not None
    assert found.link.name.startswith(link)
    verdict = judge_machine(make_profile(), make_traces(), offer, accelerator(name), shipped_assumptions(), None)
    stated = {assumption.name: assumption.text for assumption in verdict.stated}
    assert stated["link"].startswith(f"gradients of 8 devices are averaged over {found.link.name}")
    assert as_machine(make_gpu_offer(name)).link is None


def test_part_of_a_card_has_that_part_of_its_memory_and_speed() -> None:
    whole, half = as_machine(make_gpu_offer("L4")), as_machine(make_gpu_offer("L4", count=0.5))
    assert half.memory_bytes == whole.memory_bytes / 2
    assert half.speed.rates["matmul", "float32"] == pytest.approx(whole.speed.rates["matmul", "float32"] / 2)
    assert half.replicas == 1


def test_what_nobody_knows_is_no_machine() -> None:
    assert machine(make_gpu_offer("RTX9999")) == "unknown accelerator: no specification of RTX9999"


def test_every_card_that_pytorch_has_left_behind_is_refused() -> None:
    text = files("manager.workload").joinpath("data", "accelerator_families.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    old = [row["accelerator"] for row in rows if row["family"] in ("volta", "pascal", "maxwell", "kepler")]
    assert {"V100-PCIE", "P100-SXM2", "K80", "M60"} <= set(old)
    for name in old:
        card = accelerator(name)
        assert card is not None
        refusal = refusal_of(make_profile(), card)
        assert refusal is not None, name
        assert f"{name} needs a PyTorch build" in refusal


def test_chunked_loss_is_refused_on_several_devices() -> None:
    spec = make_spec()
    chunked = replace(spec, training=replace(spec.training, loss="chunked"))
    for count, refusal in ((4, "loss chunked is for one device, this machine has 4"), (1, None)):
        offer = make_gpu_offer("L4", count=count)
        found = machine_of(make_profile(spec=chunked), shape_of(offer), accelerator("L4"), shipped_assumptions())
        assert isinstance(found, Machine)
        assert found.refusal == (refusal and f"training program does not run there yet: {refusal}")
    assert as_machine(make_gpu_offer("L4", count=4)).refusal is None


@pytest.mark.parametrize(
    ("offer", "refusal"),
    [
        (make_gpu_offer("T4", cloud="local"), "needs Ampere or newer, T4 is older"),
        (make_gpu_offer("L4", cloud="aws"), "needs the package flash-attn"),
        (make_gpu_offer("L4", cloud="slurm"), "needs the package flash-attn"),
        (make_gpu_offer("L4", cloud="local"), None),
        (make_cpu_offer(), "runs on GPUs only"),
    ],
)
def test_flash_attention_2_runs_where_it_is_installed(offer: Offer, refusal: str | None) -> None:
    spec = make_spec(precision="fp16-mixed" if offer.accelerator else "bf16-mixed")
    flash = replace(spec, training=replace(spec.training, attention="flash_attention_2"))
    specification = None if offer.accelerator is None else accelerator(offer.accelerator)
    found = machine_of(make_profile(spec=flash), shape_of(offer), specification, shipped_assumptions())
    said = found.refusal if isinstance(found, Machine) else found
    if refusal is None:
        assert said is None
    else:
        assert said is not None
        assert f"flash_attention_2 {refusal}" in said
