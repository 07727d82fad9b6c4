"""The time of a traced step: figures worked by hand, floors, communication, and that more work never takes less."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib.resources import files

import pytest

from manager.catalog.accelerators import Accelerator, accelerator
from manager.units import Interval
from manager.workload.efficiencies import Software, band_of, family_of, software
from manager.workload.link import Link, link_of
from manager.workload.roofline import UntimedWorkError, evaluation_seconds, step_seconds
from manager.workload.speed import Speed, cpu_speed, speed_of
from manager.workload.work import work_of
from tasks.step_trace import OpGroup, StepTrace, TensorSums

EAGER = Software(name="eager", moved_share=1.0, ops_share=1.0)
FUSED = Software(name="fused", moved_share=0.5, ops_share=0.25)
FREE_BAND = Interval(low=0.9, expected=1.0, high=1.2)


def _speed(**changes: object) -> Speed:
    """One TFLOP/s, one TB/s and nothing else, so that seconds can be read off."""
    plain = Speed(
        name="test",
        family="test",
        rates={("matmul", "bfloat16"): 1e12, ("attention", "bfloat16"): 5e11},
        memory_bytes_per_s=1e12,
        narrow_bytes_per_s={"bfloat16": 1e11},
        exposed=0.0,
        interference=0.0,
        launch_s=0.0,
        issue_s=0.0,
        issue_backward_s=0.0,
        step_s=0.0,
        software=EAGER,
        band=FREE_BAND,
        basis="by hand",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _group(phase: str, kind: str, *, count: int = 1, flops: float = 0.0, moved: float = 0.0) -> OpGroup:
    return OpGroup(
        phase=phase, kind=kind, dtype="bfloat16", count=count, flops={"BS": flops} if flops else {}, bytes={"BS": moved}
    )


def _trace(*groups: OpGroup, gradient_bytes: int = 10**9, checkpointing: bool = False) -> StepTrace:
    sums = TensorSums(
        tensors=1,
        elements=gradient_bytes // 2,
        bytes=gradient_bytes,
        largest_elements=gradient_bytes // 2,
        elements_large=gradient_bytes // 2,
        blocks_large=1,
        factored_elements=0,
        factor_elements=0,
        matrix_elements=0,
    )
    return StepTrace(
        model_type="test",
        task="causal-lm",
        method="full",
        precision="bf16",
        optimizer="adamw",
        gradient_checkpointing=checkpointing,
        attention="flash 1",
        loss="plain",
        padded=False,
        rank=None,
        layers=10,
        parameters=gradient_bytes // 2,
        trainable_parameters=gradient_bytes // 2,
        weights_bytes={"1": float(gradient_bytes)},
        optimizer_state_bytes={"1": 2.0 * gradient_bytes},
        trainable=sums,
        memory=(),
        ops=groups,
        layer_activation_bytes={"BS": 1000.0},
    )


def _usual() -> StepTrace:
    """Per token 6 MFLOP forward and 12 backward in products, 1 and 2 MB moved, and an update of 4 GB."""
    return _trace(
        _group("forward", "matmul", count=2, flops=3e6, moved=1e5),
        _group("forward", "memory", count=10, moved=1e5),
        _group("backward", "matmul", count=4, flops=3e6, moved=1e5),
        _group("backward", "memory", count=20, moved=1e5),
        OpGroup(phase="update", kind="update", dtype="bfloat16", count=1, flops={}, bytes={"1": 4e9}),
    )


def test_a_step_by_hand() -> None:
    # 1000 tokens: 6 GFLOP at 1 TFLOP/s is 6 ms and 1 GB at 1 TB/s is 1 ms; backward twice that; update 4 GB: 4 ms.
    time = step_seconds(_usual(), _speed(), batch=10, length=100)
    assert time.forward_s == pytest.approx(7e-3)
    assert time.backward_s == pytest.approx(14e-3)
    assert time.update_s == pytest.approx(4e-3)
    assert time.total_s == pytest.approx(25e-3)
    assert not time.issue_bound
    band = time.interval()
    assert (band.low, band.expected, band.high) == pytest.approx((22.5e-3, 25e-3, 30e-3))


def test_a_product_takes_the_longer_of_arithmetic_and_memory_and_the_exposed_part_of_the_other() -> None:
    trace = _trace(
        _group("forward", "matmul", flops=2e6, moved=1e6), _group("backward", "matmul", flops=1e6, moved=3e6)
    )
    time = step_seconds(trace, _speed(exposed=0.5), batch=1, length=1000)
    assert time.forward_s == pytest.approx(2e-3 + 0.5 * 1e-3)
    assert time.backward_s == pytest.approx(3e-3 + 0.5 * 1e-3)


def test_kinds_have_their_own_rates() -> None:
    matmul = _trace(_group("forward", "matmul", flops=1e6), _group("backward", "memory", moved=1.0))
    attention = replace(
        _trace(_group("forward", "attention", flops=1e6), _group("backward", "memory", moved=1.0)),
        task="image-classification",
    )
    times = [step_seconds(trace, _speed(), batch=1, length=1000).forward_s for trace in (matmul, attention)]
    assert times == pytest.approx([1e-3, 2e-3])


def test_a_causal_flash_kernel_does_half_of_what_is_counted() -> None:
    causal = _trace(_group("forward", "attention", flops=1e6), _group("backward", "memory", moved=1.0))
    masked = replace(causal, attention="efficient 1")
    encoder = replace(causal, task="image-classification")
    times = [step_seconds(trace, _speed(), batch=1, length=1000).forward_s for trace in (causal, masked, encoder)]
    assert times == pytest.approx([1e-3, 2e-3, 2e-3])


def test_depthwise_convolutions_move_bytes_at_a_rate_of_their_own() -> None:
    def trace(flops: float) -> StepTrace:
        group = OpGroup(
            phase="forward",
            kind="convolution",
            dtype="bfloat16",
            count=2,
            flops={"B": flops},
            bytes={"1": 5e8, "B": 1e7},
        )
        return _trace(group, _group("backward", "memory", moved=1.0))

    speed = _speed(rates={("convolution", "bfloat16"): 1e12})
    depthwise = step_seconds(trace(49 * 5e6), speed, batch=50, length=1)
    dense = step_seconds(trace(64 * 5e6), speed, batch=50, length=1)
    assert depthwise.forward_s == pytest.approx(2 * 1e9 / 1e11)
    assert dense.forward_s == pytest.approx(2 * 50 * 64 * 5e6 / 1e12)


def test_the_host_is_the_floor_of_a_small_step() -> None:
    # 12 ops forward at 100 us, 24 backward and one update at 50 us, 2 ms beside: whatever the device does meanwhile.
    speed = _speed(memory_bytes_per_s=1e13, issue_s=100e-6, issue_backward_s=50e-6, step_s=2e-3)
    small = step_seconds(_usual(), speed, batch=1, length=10)
    assert small.issue_bound
    assert small.total_s == pytest.approx(4.45e-3)
    assert not step_seconds(_usual(), speed, batch=10, length=100).issue_bound


def test_no_kernel_is_shorter_than_its_launch() -> None:
    # 10 tokens: products take 30 us, movers 1 us, the update 4 ms.
    free, launched = (step_seconds(_usual(), _speed(launch_s=launch), batch=1, length=10) for launch in (0.0, 5e-6))
    assert launched.total_s - free.total_s == pytest.approx(30 * (5e-6 - 1e-6))


def test_micro_batches_repeat_the_passes_and_not_the_update() -> None:
    one = step_seconds(_usual(), _speed(), batch=10, length=100)
    four = step_seconds(_usual(), _speed(), batch=10, length=100, micro_batches=4)
    assert four.total_s == pytest.approx(one.total_s + 3 * (one.forward_s + one.backward_s))


def test_fused_software_moves_and_issues_less() -> None:
    eager = step_seconds(_usual(), _speed(), batch=10, length=100)
    fused = step_seconds(_usual(), _speed(software=FUSED), batch=10, length=100)
    assert eager.forward_s - fused.forward_s == pytest.approx(0.5e-3)


@pytest.mark.parametrize("sharding", ["ddp", "zero2", "fsdp"])
def test_replicas_are_never_faster_per_sample_than_ideal(sharding: str) -> None:
    one = step_seconds(_usual(), _speed(), batch=10, length=100)
    many = step_seconds(
        _usual(), _speed(), batch=10, length=100, replicas=8, link=_link(), sharding=sharding, micro_batches=3
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
    fast = step_seconds(_usual(), _speed(), batch=100, length=100, replicas=4, link=_link())
    assert fast.communication_s == pytest.approx(2 * 3 / 4 * 25 * 2**20 / 1e11)
    slow = step_seconds(_usual(), _speed(), batch=1, length=100, replicas=4, link=_link())
    assert slow.communication_s == pytest.approx(15e-3 - 0.9 * 1.4e-3)


def test_sharded_weights_travel_in_each_micro_step() -> None:
    one, three = (
        step_seconds(
            _usual(), _speed(), batch=1, length=10, replicas=4, link=_link(), sharding="fsdp", micro_batches=count
        )
        for count in (1, 3)
    )
    assert three.communication_s == pytest.approx(3 * one.communication_s)
    # Two gathers and a scatter of 1 GB, under hardly any computation.
    assert one.communication_s == pytest.approx(3 * 7.5e-3, rel=0.02)


def test_exchange_slows_computation_down() -> None:
    speed = _speed(interference=0.1)
    one = step_seconds(_usual(), speed, batch=10, length=100)
    ddp = step_seconds(_usual(), speed, batch=10, length=100, replicas=2, link=_link())
    fsdp = step_seconds(_usual(), speed, batch=10, length=100, replicas=2, link=_link(), sharding="fsdp")
    assert (ddp.forward_s, ddp.backward_s) == pytest.approx((one.forward_s, 1.1 * one.backward_s))
    assert (fsdp.forward_s, fsdp.backward_s) == pytest.approx((1.1 * one.forward_s, 1.1 * one.backward_s))


def test_tensor_parallel_divides_products_and_pays_for_it() -> None:
    one = step_seconds(_usual(), _speed(), batch=10, length=100)
    two = step_seconds(_usual(), _speed(), batch=10, length=100, link=_link(), tensor_parallel=2)
    assert two.forward_s == pytest.approx(3e-3 + 1e-3)
    # Ten layers, two passes, two all-reduces of a layer's input (1 MB) each.
    assert two.communication_s == pytest.approx(10 * 2 * 2 * 1e6 / 1e11)
    assert two.total_s < one.total_s


def test_several_devices_need_a_link() -> None:
    with pytest.raises(ValueError, match="link"):
        step_seconds(_usual(), _speed(), batch=1, length=1, replicas=2)
    with pytest.raises(ValueError, match="sharding"):
        step_seconds(_usual(), _speed(), batch=1, length=1, sharding="none")


def test_work_in_a_type_without_a_rate_is_refused() -> None:
    with pytest.raises(UntimedWorkError, match="bfloat16"):
        step_seconds(_usual(), _speed(rates={("matmul", "float16"): 1e12}), batch=1, length=1)


def test_evaluation_counts_forward_passes_only() -> None:
    seconds = evaluation_seconds(_usual(), _speed(), samples=100, batch=10, length=100)
    assert seconds == pytest.approx(10 * 7e-3)
    assert evaluation_seconds(_usual(), _speed(), samples=100, batch=10, length=100, replicas=2) == pytest.approx(35e-3)


def test_more_tokens_and_larger_batches_never_take_less() -> None:
    speed = _known_speed("A100-80GB-SXM")
    lengths = [step_seconds(_usual(), speed, batch=4, length=length).total_s for length in (1, 16, 128, 1024, 8192)]
    batches = [step_seconds(_usual(), speed, batch=batch, length=128).total_s for batch in (1, 2, 8, 64, 512)]
    assert lengths == sorted(lengths)
    assert batches == sorted(batches)
    assert lengths[0] < lengths[-1]


def test_work_is_computed_once_for_a_batch() -> None:
    trace = _usual()
    assert work_of(trace, batch=3, length=7) is work_of(trace, batch=3, length=7)
    assert work_of(_usual(), batch=3, length=7) is not work_of(trace, batch=3, length=7)


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
