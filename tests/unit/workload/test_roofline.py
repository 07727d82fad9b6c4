"""The time of a traced step: figures worked by hand, floors, communication, and that more work never takes less."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from manager.catalog.accelerators import Accelerator, accelerator
from manager.workload.efficiencies import band_of, family_of, software
from manager.workload.link import Link, link_of
from manager.workload.roofline import evaluation_seconds, step_seconds
from manager.workload.speed import Speed, cpu_speed, speed_of
from tests.unit.workload.timed_steps import FUSED, plain_speed, usual_trace


def test_a_step_by_hand() -> None:
    # 1000 tokens: 6 GFLOP at 1 TFLOP/s is 6 ms and 1 GB at 1 TB/s is 1 ms; backward twice that; update 4 GB: 4 ms.
    time = step_seconds(usual_trace(), plain_speed(), batch=10, length=100)
    assert time.forward_s == pytest.approx(7e-3)
    assert time.backward_s == pytest.approx(14e-3)
    assert time.update_s == pytest.approx(4e-3)
    assert time.total_s == pytest.approx(25e-3)
    assert not time.issue_bound
    band = time.interval()
    assert (band.low, band.expected, band.high) == pytest.approx((22.5e-3, 25e-3, 30e-3))


def test_the_host_is_the_floor_of_a_small_step() -> None:
    # 12 ops forward at 100 us, 24 backward and one update at 50 us, 2 ms beside: whatever the device does meanwhile.
    speed = plain_speed(memory_bytes_per_s=1e13, issue_s=100e-6, issue_backward_s=50e-6, step_s=2e-3)
    small = step_seconds(usual_trace(), speed, batch=1, length=10)
    assert small.issue_bound
    assert small.total_s == pytest.approx(4.45e-3)
    assert not step_seconds(usual_trace(), speed, batch=10, length=100).issue_bound


def test_micro_batches_repeat_the_passes_and_not_the_update() -> None:
    one = step_seconds(usual_trace(), plain_speed(), batch=10, length=100)
    four = step_seconds(usual_trace(), plain_speed(), batch=10, length=100, micro_batches=4)
    assert four.total_s == pytest.approx(one.total_s + 3 * (one.forward_s + one.backward_s))


def test_fused_software_moves_and_issues_less() -> None:
    eager = step_seconds(usual_trace(), plain_speed(), batch=10, length=100)
    fused = step_seconds(usual_trace(), plain_speed(software=FUSED), batch=10, length=100)
    assert eager.forward_s - fused.forward_s == pytest.approx(0.5e-3)


@pytest.mark.parametrize("sharding", ["ddp", "zero2", "fsdp"])
def test_replicas_are_never_faster_per_sample_than_ideal(sharding: str) -> None:
    one = step_seconds(usual_trace(), plain_speed(), batch=10, length=100)
    many = step_seconds(
        usual_trace(), plain_speed(), batch=10, length=100, replicas=8, link=_link(), sharding=sharding, micro_batches=3
    )
    assert many.communication_s > 0
    ideal_s = 3 * (one.forward_s + one.backward_s) + one.update_s / 8
    assert many.total_s >= ideal_s


def _link(bytes_per_s: float = 1e11) -> Link:
    return Link(name="test", bytes_per_s=bytes_per_s, latency_s=0.0)


def test_an_all_reduce_by_hand() -> None:
    # 2 x 3/4 x 1 GB at 100 GB/s.
    assert _link().reduce_s(1e9, 4) == pytest.approx(15e-3)
    assert _link().gather_s(1e9, 4) == pytest.approx(7.5e-3)
    assert _link().reduce_s(1e9, 1) == 0


def test_gradients_hide_under_the_backward_pass_but_for_the_last_bucket() -> None:
    fast = step_seconds(usual_trace(), plain_speed(), batch=100, length=100, replicas=4, link=_link())
    assert fast.communication_s == pytest.approx(2 * 3 / 4 * 25 * 2**20 / 1e11)
    slow = step_seconds(usual_trace(), plain_speed(), batch=1, length=100, replicas=4, link=_link())
    assert slow.communication_s == pytest.approx(15e-3 - 0.9 * 1.4e-3)


def test_sharded_weights_travel_in_each_micro_step() -> None:
    one, three = (
        step_seconds(
            usual_trace(),
            plain_speed(),
            batch=1,
            length=10,
            replicas=4,
            link=_link(),
            sharding="fsdp",
            micro_batches=count,
        )
        for count in (1, 3)
    )
    assert three.communication_s == pytest.approx(3 * one.communication_s)
    # Two gathers and a scatter of 1 GB, under hardly any computation.
    assert one.communication_s == pytest.approx(3 * 7.5e-3, rel=0.02)


def test_exchange_slows_computation_down() -> None:
    speed = plain_speed(interference=0.1)
    one = step_seconds(usual_trace(), speed, batch=10, length=100)
    ddp = step_seconds(usual_trace(), speed, batch=10, length=100, replicas=2, link=_link())
    fsdp = step_seconds(usual_trace(), speed, batch=10, length=100, replicas=2, link=_link(), sharding="fsdp")
    assert (ddp.forward_s, ddp.backward_s) == pytest.approx((one.forward_s, 1.1 * one.backward_s))
    assert (fsdp.forward_s, fsdp.backward_s) == pytest.approx((1.1 * one.forward_s, 1.1 * one.backward_s))


def test_tensor_parallel_divides_products_and_pays_for_it() -> None:
    one = step_seconds(usual_trace(), plain_speed(), batch=10, length=100)
    two = step_seconds(usual_trace(), plain_speed(), batch=10, length=100, link=_link(), tensor_parallel=2)
    assert two.forward_s == pytest.approx(3e-3 + 1e-3)
    # Ten layers, two passes, two all-reduces of a layer's input (1 MB) each.
    assert two.communication_s == pytest.approx(10 * 2 * 2 * 1e6 / 1e11)
    assert two.total_s < one.total_s


def test_several_devices_need_a_link() -> None:
    with pytest.raises(ValueError, match="link"):
        step_seconds(usual_trace(), plain_speed(), batch=1, length=1, replicas=2)
    with pytest.raises(ValueError, match="sharding"):
        step_seconds(usual_trace(), plain_speed(), batch=1, length=1, sharding="none")


def test_evaluation_counts_forward_passes_only() -> None:
    seconds = evaluation_seconds(usual_trace(), plain_speed(), samples=100, batch=10, length=100)
    assert seconds == pytest.approx(10 * 7e-3)
    assert evaluation_seconds(
        usual_trace(), plain_speed(), samples=100, batch=10, length=100, replicas=2
    ) == pytest.approx(35e-3)


def test_more_tokens_and_larger_batches_never_take_less() -> None:
    speed = _known_speed("A100-80GB-SXM")
    lengths = [
        step_seconds(usual_trace(), speed, batch=4, length=length).total_s for length in (1, 16, 128, 1024, 8192)
    ]
    batches = [step_seconds(usual_trace(), speed, batch=batch, length=128).total_s for batch in (1, 2, 8, 64, 512)]
    assert lengths == sorted(lengths)
    assert batches == sorted(batches)
    assert lengths[0] < lengths[-1]


def _known(name: str) -> Accelerator:
    found = accelerator(name)
    assert found is not None
    return found


def _known_speed(name: str, **choices: bool) -> Speed:
    speed = speed_of(_known(name), software=software("eager"), **choices)  # type: ignore[arg-type]
    assert speed is not None
    return speed


def test_no_rate_exceeds_its_peak() -> None:
    for name in ("A100", "H100", "L4", "T4", "V100", "RTX4090", "MI300X", "B200", "tpu-v5litepod-8"):
        known, speed = _known(name), _known_speed(name)
        peak = known.peak_bf16_flops_per_s or known.peak_fp16_flops_per_s
        assert peak is not None
        assert known.memory_bandwidth_bytes_per_s is not None
        assert all(rate <= peak for (kind, _), rate in speed.rates.items() if kind != "attention")
        assert speed.memory_bytes_per_s <= known.memory_bandwidth_bytes_per_s


def test_tf32_is_faster_than_fp32_and_absent_where_the_silicon_lacks_it() -> None:
    plain, tf32 = _known_speed("A100"), _known_speed("A100", tf32_matmul=True)
    assert tf32.rates["matmul", "float32"] > 3 * plain.rates["matmul", "float32"]
    assert _known_speed("V100", tf32_matmul=True).rates == _known_speed("V100").rates
    assert ("matmul", "bfloat16") not in _known_speed("V100").rates


def test_a_share_of_an_accelerator_has_that_share_of_its_rates() -> None:
    whole = _known_speed("A100")
    half = speed_of(_known("A100"), software=software("eager"), share=0.5)
    assert half is not None
    assert half.memory_bytes_per_s == pytest.approx(whole.memory_bytes_per_s / 2)
    assert half.rates["matmul", "bfloat16"] == pytest.approx(whole.rates["matmul", "bfloat16"] / 2)


def test_bands_hold_one_and_widen_where_nothing_was_measured() -> None:
    for family in ("ampere-hbm", "hopper", "pascal", "tpu"):
        band = band_of(family, "eager")
        assert band.low < 1 < band.high
    measured = [band_of(family, "eager") for family in ("ada", "ampere-gddr", "ampere-hbm", "hopper", "turing")]
    strangers = [band_of("tpu", "xla"), band_of("cdna", "eager"), band_of("no such family", "xla")]
    unseen = band_of("pascal", "eager")
    assert all(unseen.low < band.low and unseen.high > band.high for band in measured)
    assert all(band.low < unseen.low and band.high > unseen.high for band in strangers)


def test_families_of_slices_and_of_strangers() -> None:
    assert family_of("tpu-v5litepod-8")[0] == "tpu"
    assert family_of("H200")[0] == "hopper"
    assert family_of("no such thing")[0] == "*"


def test_a_cpu_computes_at_its_assumed_rates() -> None:
    speed = cpu_speed(
        vcpus=8, flops_per_s_per_vcpu=25e9, memory_bytes_per_s=32e9, software=software("eager"), basis="by hand"
    )
    assert speed.rates["matmul", "float32"] == pytest.approx(200e9)
    assert speed.memory_bytes_per_s == 32e9


def test_links_by_machine() -> None:
    h100, l4, a6000 = _known("H100"), _known("L4"), _known("RTXA6000")
    assert link_of(h100, family="hopper", devices=1) is None
    inside = link_of(h100, family="hopper", devices=8)
    bus = link_of(l4, family="ada", devices=8)
    assert inside is not None
    assert bus is not None
    assert inside.bytes_per_s == pytest.approx(450e9 * 0.75)
    assert bus.bytes_per_s == pytest.approx(32e9 * 0.65)
    joined = link_of(h100, family="hopper", devices=16)
    assert joined is not None
    assert inside.latency_s < bus.latency_s < joined.latency_s
    pair, four = (link_of(a6000, family="ampere-gddr", devices=count) for count in (2, 4))
    assert pair is not None
    assert four is not None
    assert (pair.name, four.name) == ("NVLink bridge", "PCIe")


def test_machines_are_joined_by_their_network() -> None:
    h100 = _known("H100")
    usual = link_of(h100, family="hopper", devices=16)
    assert usual is not None
    assert usual.bytes_per_s == pytest.approx(400e9 * 0.8)
    joined = link_of(h100, family="hopper", devices=16, network_bytes_per_s=50e9)
    assert joined is not None
    assert joined.bytes_per_s == pytest.approx(50e9 * 0.8)


def test_every_accelerator_of_the_catalog_has_a_family() -> None:
    names = [row["name"] for row in _catalog("accelerators.csv")]
    assert [name for name in names if family_of(name)[0] == "*"] == []
    assert all(0 < family_of(name)[1] <= 1 for name in names)


def _catalog(name: str) -> list[dict[str, str]]:
    text = files("manager.catalog").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
