"""The time of single ops of a traced step: which costs each kind has, and what of them adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.roofline import UntimedWorkError, evaluation_seconds, step_seconds
from manager.workload.work import NARROW, flops_of, work_of
from tasks.step_trace import MemoryPoint, OpGroup, StepTrace
from tests.unit.workload.timed_steps import op_group, plain_speed, trace_of, usual_trace


def test_a_product_takes_the_longer_of_arithmetic_and_memory_and_the_exposed_part_of_the_other() -> None:
    trace = trace_of(
        op_group("forward", "matmul", flops=2e6, moved=1e6), op_group("backward", "matmul", flops=1e6, moved=3e6)
    )
    time = step_seconds(trace, plain_speed(exposed=0.5), batch=1, length=1000)
    assert time.forward_s == pytest.approx(2e-3 + 0.5 * 1e-3)
    assert time.backward_s == pytest.approx(3e-3 + 0.5 * 1e-3)


def test_kinds_have_their_own_rates() -> None:
    matmul = trace_of(op_group("forward", "matmul", flops=1e6), op_group("backward", "memory", moved=1.0))
    attention = replace(
        trace_of(op_group("forward", "attention", flops=1e6), op_group("backward", "memory", moved=1.0)),
        task="image-classification",
    )
    times = [step_seconds(trace, plain_speed(), batch=1, length=1000).forward_s for trace in (matmul, attention)]
    assert times == pytest.approx([1e-3, 2e-3])


def test_a_causal_flash_kernel_does_half_of_what_is_counted() -> None:
    causal = trace_of(op_group("forward", "attention", flops=1e6), op_group("backward", "memory", moved=1.0))
    masked = replace(causal, attention="efficient 1")
    encoder = replace(causal, task="image-classification")
    times = [step_seconds(trace, plain_speed(), batch=1, length=1000).forward_s for trace in (causal, masked, encoder)]
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
        return trace_of(group, op_group("backward", "memory", moved=1.0))

    speed = plain_speed(rates={("convolution", "bfloat16"): 1e12})
    depthwise = step_seconds(trace(49 * 5e6), speed, batch=50, length=1)
    dense = step_seconds(trace(64 * 5e6), speed, batch=50, length=1)
    assert depthwise.forward_s == pytest.approx(2 * 1e9 / 1e11)
    assert dense.forward_s == pytest.approx(2 * 50 * 64 * 5e6 / 1e12)


def _convolution(phase: str, flops_per_element: float) -> OpGroup:
    return OpGroup(
        phase=phase,
        kind="convolution",
        dtype="bfloat16",
        count=1,
        flops={"B": flops_per_element * 5e6},
        bytes={"1": 5e8, "B": 1e7},
    )


@pytest.mark.parametrize(("phase", "depthwise", "dense"), [("forward", 49, 64), ("backward", 65, 85)])
def test_what_is_depthwise_is_judged_by_the_tensors_of_the_pass(phase: str, depthwise: float, dense: float) -> None:
    trace = trace_of(_convolution(phase, depthwise), _convolution(phase, dense))
    assert [group.kind for group in work_of(trace, batch=2, length=1)[phase].groups] == [NARROW, "convolution"]


def test_arithmetic_of_a_depthwise_convolution_adds_to_its_bytes() -> None:
    trace = trace_of(_convolution("forward", 40), op_group("backward", "memory", moved=1.0))
    free, bound = (
        step_seconds(trace, plain_speed(narrow_flops_per_s=rates), batch=50, length=1).forward_s
        for rates in ({}, {"bfloat16": 1e12})
    )
    assert free == pytest.approx(1e9 / 1e11)
    assert bound - free == pytest.approx(50 * 40 * 5e6 / 1e12)


def test_tiles_of_a_product_and_the_order_of_images_cost_time() -> None:
    trace = trace_of(_convolution("forward", 100), op_group("backward", "matmul", flops=1e9, moved=1e6))
    rates = {("convolution", "bfloat16"): 1e12, ("matmul", "bfloat16"): 1e12}
    plain, tiled = (
        step_seconds(trace, plain_speed(rates=rates, epilogue_s_per_byte=each), batch=50, length=1)
        for each in (0.0, 1e-12)
    )
    ordered = step_seconds(trace, plain_speed(rates=rates, layout={"bfloat16": 0.5}), batch=50, length=1)
    assert tiled.forward_s - plain.forward_s == pytest.approx(1e-3)
    assert tiled.backward_s - plain.backward_s == pytest.approx(50e-6)
    assert ordered.forward_s - plain.forward_s == pytest.approx(0.5e-3)
    assert ordered.backward_s == plain.backward_s


def test_the_device_waits_for_inputs_unless_they_stay_there() -> None:
    point = MemoryPoint(phase="forward", lines={"inputs": {"B": 1e6}})
    trace = replace(usual_trace(), memory=(point,))
    speed = plain_speed(copy_bytes_per_s=1e9)
    there, copied = (
        step_seconds(trace, speed, batch=10, length=100, micro_batches=3, inputs_on_host=there)
        for there in (False, True)
    )
    assert copied.copy_s == pytest.approx(30e-3)
    assert copied.total_s - there.total_s == pytest.approx(30e-3)
    evaluated = evaluation_seconds(trace, speed, samples=10, batch=10, length=100)
    assert evaluated - evaluation_seconds(usual_trace(), speed, samples=10, batch=10, length=100) == pytest.approx(
        10e-3
    )


def test_the_optimizer_loops_over_tensors_on_the_host() -> None:
    speed = plain_speed(memory_bytes_per_s=1e15, tensor_s=1.0)
    assert step_seconds(usual_trace(), speed, batch=1, length=1, micro_batches=2).total_s == pytest.approx(1.0)


def test_flops_are_those_that_kernels_do() -> None:
    causal = trace_of(
        op_group("forward", "attention", flops=2e6),
        op_group("forward", "matmul", flops=1e6),
        op_group("backward", "memory", moved=1.0),
    )
    assert flops_of(causal, ("forward", "update"), batch=2, length=10) == pytest.approx(20 * 2e6)
    mixed = replace(causal, attention="efficient 1, flash 3")
    assert flops_of(mixed, ("forward",), batch=2, length=10) == pytest.approx(20 * (2e6 * (1 - 0.5 * 0.75) + 1e6))


def test_no_kernel_is_shorter_than_its_launch() -> None:
    # 10 tokens: products take 30 us, movers 1 us, the update 4 ms.
    free, launched = (
        step_seconds(usual_trace(), plain_speed(launch_s=launch), batch=1, length=10) for launch in (0.0, 5e-6)
    )
    assert launched.total_s - free.total_s == pytest.approx(30 * (5e-6 - 1e-6))


def test_work_in_a_type_without_a_rate_is_refused() -> None:
    with pytest.raises(UntimedWorkError, match="bfloat16"):
        step_seconds(usual_trace(), plain_speed(rates={("matmul", "float16"): 1e12}), batch=1, length=1)


def test_work_is_computed_once_for_a_batch() -> None:
    trace = usual_trace()
    assert work_of(trace, batch=3, length=7) is work_of(trace, batch=3, length=7)
    assert work_of(usual_trace(), batch=3, length=7) is not work_of(trace, batch=3, length=7)
