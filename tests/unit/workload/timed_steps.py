"""Steps and speeds whose seconds can be worked by hand."""

from __future__ import annotations

from dataclasses import replace

from manager.units import Interval
from manager.workload.efficiencies import Software
from manager.workload.speed import Speed
from tasks.step_trace import OpGroup, StepTrace, TensorSums

EAGER = Software(name="eager", moved_share=1.0, ops_share=1.0)
FUSED = Software(name="fused", moved_share=0.5, ops_share=0.25)
FREE_BAND = Interval(low=0.9, expected=1.0, high=1.2)


def plain_speed(**changes: object) -> Speed:
    """One TFLOP/s, one TB/s and nothing else, so that seconds can be read off."""
    plain = Speed(
        name="test",
        family="test",
        rates={("matmul", "bfloat16"): 1e12, ("attention", "bfloat16"): 5e11},
        memory_bytes_per_s=1e12,
        narrow_bytes_per_s={"bfloat16": 1e11},
        narrow_flops_per_s={},
        epilogue_s_per_byte=0.0,
        layout={},
        exposed=0.0,
        interference=0.0,
        launch_s=0.0,
        issue_s=0.0,
        issue_backward_s=0.0,
        step_s=0.0,
        tensor_s=0.0,
        copy_bytes_per_s=1e12,
        software=EAGER,
        band=FREE_BAND,
        basis="by hand",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def op_group(phase: str, kind: str, *, count: int = 1, flops: float = 0.0, moved: float = 0.0) -> OpGroup:
    return OpGroup(
        phase=phase, kind=kind, dtype="bfloat16", count=count, flops={"BS": flops} if flops else {}, bytes={"BS": moved}
    )


def trace_of(*groups: OpGroup, gradient_bytes: int = 10**9, checkpointing: bool = False) -> StepTrace:
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


def usual_trace() -> StepTrace:
    """Per token 6 MFLOP forward and 12 backward in products, 1 and 2 MB moved, and an update of 4 GB."""
    return trace_of(
        op_group("forward", "matmul", count=2, flops=3e6, moved=1e5),
        op_group("forward", "memory", count=10, moved=1e5),
        op_group("backward", "matmul", count=4, flops=3e6, moved=1e5),
        op_group("backward", "memory", count=20, moved=1e5),
        OpGroup(phase="update", kind="update", dtype="bfloat16", count=1, flops={}, bytes={"1": 4e9}),
    )
