"""The fit against a made-up model whose work and memory are known at every depth, batch and length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.failures import TaskError
from tasks.job import MethodChoice
from tasks.protocol import ProtocolError
from tasks.step_trace import StepTrace, TensorSums, TraceRequest, evaluate
from tasks.step_trace_codec import request_from_json, request_to_json, trace_from_json, trace_to_json
from tasks.tracing.fit import trace_step
from tasks.tracing.hull import hull
from tasks.tracing.layout import SmallDepths, small_depths
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tests.support.trace_factory import make_trace

_CONFIG: dict[str, Any] = {"model_type": "made-up", "num_hidden_layers": 40, "max_position_embeddings": 4096}
_REQUEST = TraceRequest(config=_CONFIG, task="causal-lm", method=MethodChoice(), precision="bf16")
_WHERE = [(1, 16), (2, 4096), (7, 300), (64, 512), (1024, 16), (512, 2048)]


class _MadeUp:
    """Records a model of embedding, layers of two kinds in turn, and a head; each op is known by formula."""

    def __init__(self, *, odd_layer: int | None = None, ops_with_length: bool = False) -> None:
        self.calls = 0
        self._odd_layer = odd_layer
        self._ops_with_length = ops_with_length

    def __call__(
        self,
        request: TraceRequest,
        *,
        batch: int,
        length: int,
        rank: int | None = None,
        layers: int | None = None,
        slices: int | None = None,
    ) -> Recording:
        self.calls += 1
        depth = layers or 40
        rank = rank or request.method.lora_rank
        tokens, rows = batch * length, []
        live = {name: 0 for name in LIVE_COLUMNS}
        live["inputs"] = 16 * tokens

        def op(phase: str, name: str, kind: str, flops: float, moved: float, temporary: int = 0, **change: int) -> None:
            for column, added in change.items():
                live[column] += added
            rows.append((phase, name, kind, flops, moved, {**live, "temporaries": live["temporaries"] + temporary}))

        op("forward", "embedding", "memory", 0, 8 * tokens, activations=512 * tokens + 1024 * length)
        for layer in range(depth):
            op("forward", "mm", "matmul", 2e4 * tokens * rank, 900 * tokens, activations=(1024 + 2 * rank) * tokens)
            heads = 4 if layer % 2 else 64
            op("forward", "bmm", "attention", 8 * heads * tokens * length, 64 * tokens, heads * tokens * length)
            if layer == self._odd_layer:
                op("forward", "sort", "memory", 0, tokens)
        for _ in range(length // 128 if self._ops_with_length else 1):
            op("forward", "cross_entropy", "memory", 0, 10 * tokens, 3 * tokens, loss_chain=4096 * tokens)
        op("backward", "cross_entropy_backward", "memory", 0, 10 * tokens, loss_chain=-4096 * tokens)
        for layer in reversed(range(depth)):
            heads = 4 if layer % 2 else 64
            op("backward", "bmm", "attention", 16 * heads * tokens * length, tokens, 2 * heads * tokens * length)
            op("backward", "mm", "matmul", 4e4 * tokens * rank, tokens, 0, activations=-(1024 + 2 * rank) * tokens,
               gradients=2048 * 1024 * rank)  # fmt: skip
        op("update", "stack", "memory", 0, 4 * depth)
        op("update", "_fused_adamw_", "update", 0, 14 * 1024 * rank * depth, gradients=-live["gradients"])
        weights = 1_000_000 + 2048 * rank * depth
        return Recording(
            batch=batch,
            length=length,
            rank=rank,
            layers=depth,
            phases=tuple(row[0] for row in rows),
            live_bytes=np.array([[row[5][name] for name in LIVE_COLUMNS] for row in rows], dtype=np.int64),
            names=tuple(row[1] for row in rows),
            kinds=tuple(row[2] for row in rows),
            dtypes=("bfloat16",) * len(rows),
            flops=np.array([row[3] for row in rows], dtype=np.float64),
            moved_bytes=np.array([row[4] for row in rows], dtype=np.float64),
            weights_bytes=weights,
            optimizer_state_bytes=2 * weights,
            parameters=weights // 2,
            trainable_parameters=weights // 2,
            trainable=TensorSums(
                tensors=2 * depth,
                elements=weights // 2,
                bytes=weights,
                largest_elements=1000,
                elements_large=0,
                blocks_large=0,
                factored_elements=0,
                factor_elements=0,
                matrix_elements=0,
            ),
            layer_weight_bytes=2048 * rank,
            root_weight_bytes=1_000_000,
            layer_input_bytes=512 * tokens,
            attention={"flash": depth},
            notes=("made up",),
        )


def _trace(record: _MadeUp, *, with_rank: bool = False, **changes: Any) -> StepTrace:
    request = replace(_REQUEST, **changes)
    config = {**request.config, "layer_types": ["wide", "narrow"] * 20}
    return trace_step(request, config=config, record=record, with_rank=with_rank)


def _peak(trace: StepTrace, batch: int, length: int, rank: int = 0) -> float:
    return max(
        sum(evaluate(line, batch=batch, length=length, rank=rank) for line in point.lines.values())
        for point in trace.memory
    )


def _flops(trace: StepTrace, batch: int, length: int, rank: int = 0) -> float:
    return sum(op.count * evaluate(op.flops, batch=batch, length=length, rank=rank) for op in trace.ops)


@pytest.mark.parametrize(("batch", "length"), _WHERE)
def test_two_depths_give_the_deep_model(batch: int, length: int) -> None:
    record = _MadeUp()
    trace = _trace(record)
    assert not trace.exact
    assert record.calls == 13
    full = _MadeUp()(_REQUEST, batch=batch, length=length, rank=16, layers=40)
    assert _peak(trace, batch, length) == pytest.approx(full.peak_bytes(), rel=5e-4)
    assert _flops(trace, batch, length) == pytest.approx(full.flops.sum(), rel=1e-9)
    moved = sum(op.count * evaluate(op.bytes, batch=batch, length=length) for op in trace.ops)
    assert moved == pytest.approx(full.moved_bytes.sum(), rel=1e-9)
    assert sum(op.count for op in trace.ops) == len(full.names)
    assert trace.parameters == full.parameters
    assert trace.trainable == full.trainable
    assert trace.attention == "flash 40"
    assert len(trace.memory) <= 12


def test_a_layer_unlike_the_others_is_never_guessed() -> None:
    """The config promises repeated layers, the ops say otherwise: the model is recorded at its own depth."""
    record = _MadeUp(odd_layer=5)
    trace = _trace(record)
    assert trace.exact
    full = _MadeUp(odd_layer=5)(_REQUEST, batch=8, length=512, rank=16, layers=40)
    assert _peak(trace, 8, 512) == pytest.approx(full.peak_bytes(), rel=5e-4)
    assert sum(op.count for op in trace.ops) == len(full.names)


def test_ops_that_depend_on_length_are_refused() -> None:
    with pytest.raises(TaskError, match=r"op \d+ is"):
        _trace(_MadeUp(ops_with_length=True))


@pytest.mark.parametrize("rank", [4, 8, 64])
def test_one_trace_holds_for_every_rank(rank: int) -> None:
    trace = _trace(_MadeUp(), with_rank=True, method=MethodChoice(kind="lora"))
    assert trace.rank is None
    full = _MadeUp()(_REQUEST, batch=8, length=512, rank=rank, layers=40)
    assert _peak(trace, 8, 512, rank) == pytest.approx(full.peak_bytes(), rel=5e-4)
    assert _flops(trace, 8, 512, rank) == pytest.approx(full.flops.sum(), rel=1e-9)
    assert evaluate(trace.weights_bytes, batch=1, length=1, rank=rank) == full.weights_bytes


def test_without_a_rank_the_requests_own_is_traced() -> None:
    trace = _trace(_MadeUp(), method=MethodChoice(kind="lora", lora_rank=8))
    assert trace.rank == 8
    assert trace.weights_bytes == {"1": 1_000_000 + 2048 * 8 * 40}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (3, 4, 1, 37)),
        ({"layer_types": ["a", "b"] * 20}, (4, 6, 2, 18)),
        ({"num_hidden_layers": 62, "sliding_window_pattern": 6}, (14, 20, 6, 8)),
        ({"num_hidden_layers": 22, "global_attn_every_n_layers": 3}, (7, 10, 3, 5)),
        ({"num_hidden_layers": 26, "sliding_window_pattern": 6}, None),
        ({"num_hidden_layers": 5}, None),
        ({"layer_types": ["a"] * 39 + ["b"]}, None),
        ({"first_k_dense_replace": 3}, (6, 7, 1, 34)),
        ({"mlp_layer_types": ["dense"] + ["sparse"] * 39}, (4, 5, 1, 36)),
        ({"mlp_only_layers": [7]}, None),
        ({"is_encoder_decoder": True}, None),
        ({"depths": [3, 4, 6, 3]}, None),
    ],
)
def test_small_depths(changes: dict[str, Any], expected: tuple[int, int, int, int] | None) -> None:
    found = small_depths({**_CONFIG, **changes})
    assert (found and (found.fewer, found.more, found.period, found.steps)) == expected


def test_depth_of_the_request_counts() -> None:
    assert small_depths(_CONFIG, 80) == SmallDepths(fewer=3, more=4, period=1, layers=80)


def test_json_gives_the_same_trace_and_request() -> None:
    trace = _trace(_MadeUp())
    assert trace_from_json(trace_to_json(trace)) == trace
    assert request_from_json(request_to_json(_REQUEST)) == _REQUEST


def test_json_has_what_few_traces_say_in_those_alone() -> None:
    few = replace(make_trace(), two_points=True, image_tokens=67)
    assert trace_from_json(trace_to_json(few)) == few
    assert {"two_points", "image_tokens"}.isdisjoint(trace_to_json(make_trace()))


def test_json_of_another_kind_is_refused() -> None:
    record = trace_to_json(_trace(_MadeUp()))
    with pytest.raises(ProtocolError, match="schema 0"):
        trace_from_json({**record, "schema": 0})
    with pytest.raises(ProtocolError, match="unknown key in StepTrace: colour"):
        trace_from_json({**record, "colour": 1})
    with pytest.raises(ProtocolError, match="unknown key in TraceRequest: batch"):
        request_from_json({**request_to_json(_REQUEST), "batch": 1})


@pytest.mark.parametrize("changes", [{"parameters": "1"}, {"layers": None}, {"exact": 1}, {"model_type": 3}])
def test_json_with_a_value_of_another_type_is_refused(changes: dict[str, Any]) -> None:
    record = trace_to_json(make_trace())
    with pytest.raises(ProtocolError, match=next(iter(changes))):
        trace_from_json({**record, **changes})


def test_points_under_zero_are_pruned_as_any_others() -> None:
    sums = np.array([[-512.0, 0.0], [-600.0, 0.0], [-512.1, 0.001]])
    assert set(hull(sums, ("1", "BS"), longest=128)) <= {0, 1, 2}
