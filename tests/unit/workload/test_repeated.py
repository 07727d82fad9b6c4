"""How often ops run: scoring once a sample, later slices of a chunked loss once a slice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.repeated import Each, repeated_groups, turns
from manager.workload.work import work_of
from tasks.sample_units import CHUNK_TOKENS
from tasks.step_trace import OpGroup, Polynomial, StepTrace, monomials, slices_of
from tasks.step_trace_codec import trace_from_json, trace_to_json
from tests.support.trace_factory import make_trace


def _group(
    phase: str, moved: Polynomial, *, count: int = 1, kind: str = "memory", flops: Polynomial | None = None
) -> OpGroup:
    return OpGroup(phase=phase, kind=kind, dtype="bfloat16", count=count, flops=flops or {}, bytes=moved)


_POSITIONS = {"S": 64.0}
_SCORED = {"S": 4000.0}


def _scored(task: str = "causal-lm") -> StepTrace:
    ops = (
        _group("forward", _POSITIONS, count=2),
        _group("evaluation", _POSITIONS, count=2),
        _group("evaluation", _SCORED, count=3),
        _group("evaluation", {"S": 5.0}, kind="matmul", flops={"S": 7.0}),
        _group("evaluation", {"BS": 10.0}, count=4),
    )
    return replace(make_trace(), task=task, ops=ops)


def test_scoring_runs_for_each_sample_and_positions_once() -> None:
    work = work_of(_scored(), batch=5, length=100)["evaluation"]
    assert work.ops == 2 + 3 * 5 + 5 + 4
    assert sum(group.count * group.bytes for group in work.groups) == pytest.approx(
        2 * 6400 + 3 * 5 * 400_000 + 5 * 500 + 4 * 5000
    )
    assert sum(group.count * group.flops for group in work.groups) == pytest.approx(5 * 700)


def test_an_op_like_one_of_the_forward_pass_is_scoring_where_there_are_more_of_them() -> None:
    trace = replace(_scored(), ops=(_group("forward", {"S": 1.0}, count=2), _group("evaluation", {"S": 1.0}, count=3)))
    found = {
        repeated.each: repeated.group.count
        for repeated in repeated_groups(trace)
        if repeated.group.phase == "evaluation"
    }
    assert found == {Each.BATCH: 2, Each.SAMPLE: 1}


def test_other_tasks_score_the_batch_at_once() -> None:
    work = work_of(_scored("text-classification"), batch=5, length=100)["evaluation"]
    assert work.ops == 2 + 3 + 1 + 4


def _sliced() -> StepTrace:
    first = _group("forward", {"1": 100.0, "K": 2.0}, kind="matmul", flops={"K": 6.0})
    return replace(make_trace(), loss="chunked", ops=(first,), later_slices=(first,))


@pytest.mark.parametrize(
    ("batch", "length", "slices"), [(1, 16, 1), (1, 1024, 1), (1, 1025, 2), (5, 500, 3), (8, 1024, 8)]
)
def test_slices_share_the_tokens(batch: int, length: int, slices: int) -> None:
    assert slices_of(batch * length) == slices
    work = work_of(_sliced(), batch=batch, length=length)["forward"]
    assert work.ops == slices
    assert sum(group.count * group.flops for group in work.groups) == pytest.approx(6 * batch * length)
    moved = sum(group.count * group.bytes for group in work.groups)
    assert moved == pytest.approx(100 * slices + 2 * batch * length)


def test_mean_lengths_do_not_make_a_slice_of_their_rounding() -> None:
    assert slices_of(3 * (2 * CHUNK_TOKENS / 3)) == 2
    assert turns(batch=3, length=CHUNK_TOKENS / 3)[Each.LATER_SLICE].times == 0


def test_equal_slices_of_the_tracer() -> None:
    values = monomials(4, 128, slices=2)
    assert (values["K"], values["C"], values["M"], values["KM"]) == (256, 2, 1, 256)
    values = monomials(4, 128, slices=1)
    assert (values["K"], values["C"], values["M"], values["KM"]) == (512, 1, 0, 0)


def test_later_slices_travel_as_json_and_are_left_out_where_there_are_none() -> None:
    assert trace_from_json(trace_to_json(_sliced())) == _sliced()
    assert "later_slices" not in trace_to_json(make_trace())
