"""What stands in where a trace cannot be had, and what the user is told of it; the tracer itself is replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.profiling import run_traces as module
from manager.profiling.run_traces import run_traces
from manager.profiling.tracer import FoundTrace
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from manager.workload.request import mean_target_share_of, target_share_of
from manager.workload.traces import RunTraces
from tasks.step_trace import TraceRequest
from tests.support.plan_factory import make_data, make_entry, make_spec, make_traces

TRANSLATION = replace(make_spec(), task="seq2seq-lm")
PAIRS = replace(make_data(longest=100), longest_target_tokens=90, mean_tokens=20.0, mean_target_tokens=20.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TraceRequest]:
    """Requests as they come; each is answered."""
    return _answer(monkeypatch, lambda request: None)


def _answer(
    monkeypatch: pytest.MonkeyPatch, refuse: Callable[[TraceRequest], str | None], *, is_shipped: bool = False
) -> list[TraceRequest]:
    requests: list[TraceRequest] = []

    def traced(request: TraceRequest, *, may_trace: bool, **_: Any) -> FoundTrace:
        requests.append(request)
        if not may_trace:
            raise DataError("its step is not shipped")
        reason = refuse(request)
        if reason is not None:
            raise DataError(reason)
        return FoundTrace(trace=make_traces().cuda, is_shipped=is_shipped)

    monkeypatch.setattr(module, "find_trace", traced)
    return requests


def traces_of(spec: RunSpec, data: DataStats, *, has_cpu_offers: bool = False) -> RunTraces:
    return run_traces(
        spec, make_entry(), data=data, has_cpu_offers=has_cpu_offers, cache_dir=Path("unused"), timeout_s=1.0
    )


@pytest.mark.parametrize(("longest", "share"), [(1, 0.25), (25, 0.25), (26, 0.5), (90, 1.0), (100, 1.0), (130, 1.5)])
def test_targets_are_as_long_as_the_longest_rounded_up_to_quarters(longest: int, share: float) -> None:
    assert target_share_of("seq2seq-lm", replace(PAIRS, longest_target_tokens=longest)) == share
    assert target_share_of("causal-lm", replace(PAIRS, longest_target_tokens=longest)) is None


def test_the_measured_targets_are_traced_and_stated(asked: list[TraceRequest]) -> None:
    found = traces_of(TRANSLATION, PAIRS)
    assert [request.target_share for request in asked] == [1.0]
    assert found.target_share == 1.0
    assert found.timed(is_cpu=False) is found.cuda
    assert found.notes == ("targets are traced at 1 x the length of their source: as the longest ones of the data",)


def test_time_follows_the_mean_target(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TraceRequest] = []

    def traced(request: TraceRequest, **_: Any) -> FoundTrace:
        asked.append(request)
        trace = replace(make_traces().cuda, notes=(f"{request.kernels} {request.target_share:g}",))
        return FoundTrace(trace=trace, is_shipped=False)

    monkeypatch.setattr(module, "find_trace", traced)
    found = traces_of(TRANSLATION, replace(PAIRS, mean_tokens=50.0, mean_target_tokens=12.0), has_cpu_offers=True)
    assert (found.on(is_cpu=False).notes, found.timed(is_cpu=False).notes) == (("cuda 1",), ("cuda 0.25",))
    assert (found.on(is_cpu=True).notes, found.timed(is_cpu=True).notes) == (("cpu 1",), ("cpu 0.25",))
    assert found.notes == (
        "targets are traced at 1 x the length of their source: as the longest ones of the data; time at 0.25 x, as the "
        "mean of the data",
    )
    assert len(asked) == 4


@pytest.mark.parametrize(("mean", "share"), [(0.1, 0.125), (3.0, 0.125), (12.0, 0.25), (40.0, 0.75), (60.0, 1.25)])
def test_mean_targets_are_rounded_to_the_nearest_eighth(mean: float, share: float) -> None:
    pairs = replace(PAIRS, mean_tokens=50.0, mean_target_tokens=mean)
    assert mean_target_share_of("seq2seq-lm", pairs) == share
    assert mean_target_share_of("causal-lm", pairs) is None


def test_where_the_mean_share_cannot_be_had_the_longest_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, lambda request: None if request.target_share == 0.25 else "not here")
    monkeypatch.setattr(module, "worker_can_run", lambda: False)
    found = traces_of(TRANSLATION, replace(PAIRS, longest_target_tokens=25, mean_tokens=20.0, mean_target_tokens=10.0))
    assert found.timed(is_cpu=False) is found.cuda
    assert found.notes == (
        "targets are traced at 0.25 x the length of their source: as the longest ones of the data",
        "time follows the longest targets too, which makes it long: not here",
    )


def test_a_second_step_that_fails_does_not_end_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: TraceRequest) -> str | None:
        return f"{request.kernels} took longer than 1 s" if request.target_share == 0.25 else None

    _answer(monkeypatch, refuse)
    monkeypatch.setattr(module, "worker_can_run", lambda: True)
    found = traces_of(TRANSLATION, replace(PAIRS, mean_tokens=50.0, mean_target_tokens=12.0), has_cpu_offers=True)
    assert found.timed(is_cpu=False) is found.cuda
    # The step on a processor is there, and nothing stands in for it.
    assert found.cpu is not None
    assert found.timed(is_cpu=True) is found.cpu
    assert found.notes[1:] == (
        "time follows the longest targets too, which makes it long: cuda took longer than 1 s",
        "on machines without an accelerator time follows the longest targets too, which makes it long: cpu took "
        "longer than 1 s",
    )


def test_the_mean_step_of_a_gpu_stands_in_for_that_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, lambda request: "no such kernel" if request.kernels == "cpu" else None)
    found = traces_of(TRANSLATION, replace(PAIRS, mean_tokens=50.0, mean_target_tokens=12.0), has_cpu_offers=True)
    assert found.timed(is_cpu=True) is found.cuda_timed
    assert found.notes[1:] == ("machines without an accelerator are estimated from the step of a GPU: no such kernel",)


def test_what_is_traced_is_told_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def traced(request: TraceRequest, *, tell: Callable[[], None], **_: Any) -> FoundTrace:
        if request.kernels == "cuda":
            tell()
        return FoundTrace(trace=make_traces().cuda, is_shipped=False)

    monkeypatch.setattr(module, "find_trace", traced)
    entry = make_entry()
    run_traces(
        make_spec(),
        entry,
        data=make_data(),
        has_cpu_offers=True,
        cache_dir=Path("unused"),
        timeout_s=60.0,
        tell=told.append,
    )
    assert told == [f"tracing the training step of {entry.name}: {make_spec().method.kind}, at most 60 s ..."]


def test_unknown_targets_are_an_assumption_that_is_stated(asked: list[TraceRequest]) -> None:
    found = traces_of(TRANSLATION, replace(PAIRS, longest_target_tokens=None))
    assert [request.target_share for request in asked] == [0.25]
    assert len(found.notes) == 1
    assert "an assumption, not measured" in found.notes[0]


def test_without_libraries_the_shipped_share_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = _answer(monkeypatch, lambda request: None if request.target_share == 0.25 else "not here")
    monkeypatch.setattr(module, "worker_can_run", lambda: False)
    found = traces_of(TRANSLATION, PAIRS)
    assert [request.target_share for request in requests] == [1.0, 0.25]
    assert found.target_share == 0.25
    assert "an assumption, not measured" in found.notes[0]


def test_a_worker_that_fails_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, lambda request: "took longer than 1 s")
    monkeypatch.setattr(module, "worker_can_run", lambda: True)
    with pytest.raises(DataError, match="took longer"):
        traces_of(TRANSLATION, PAIRS)


def test_why_a_processor_is_estimated_from_a_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, lambda request: "took longer than 1 s" if request.kernels == "cpu" else None)
    found = traces_of(make_spec(), make_data(), has_cpu_offers=True)
    assert found.cpu is None
    assert found.notes == (
        "machines without an accelerator are estimated from the step of a GPU: took longer than 1 s",
    )
    assert traces_of(make_spec(), make_data()).notes == ()


def test_a_large_model_is_not_traced_for_a_processor(
    asked: list[TraceRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_ON_CPU", 1)
    found = traces_of(make_spec(), make_data(), has_cpu_offers=True)
    assert [request.kernels for request in asked] == ["cuda"]
    assert "not traced for a CPU" in found.notes[0]


def test_a_step_on_a_processor_needs_no_note(asked: list[TraceRequest]) -> None:
    found = traces_of(make_spec(), make_data(), has_cpu_offers=True)
    assert [request.kernels for request in asked] == ["cuda", "cpu"]
    assert found.cpu is not None
    assert found.notes == ()


def test_another_optimizers_update_is_stated(asked: list[TraceRequest]) -> None:
    spec = replace(make_spec(), training=replace(make_spec().training, optimizer="adafactor"))
    assert traces_of(spec, make_data()).notes == (
        "the update of adafactor is counted by its passes over what learns: the step was traced with adamw",
    )


def test_where_the_gpu_step_is_shipped_only_a_run_here_waits_for_the_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, lambda request: None, is_shipped=True)
    found = traces_of(make_spec(), make_data(), has_cpu_offers=True)
    assert found.cpu is None
    assert found.notes == (
        "machines without an accelerator are estimated from the step of a GPU: its step is not shipped",
    )
    local = replace(make_spec(), where=replace(make_spec().where, clouds=("local",)))
    assert traces_of(local, make_data(), has_cpu_offers=True).cpu is not None


def test_texts_leave_room_for_their_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,192 positions, of which the image takes 67."""

    def traced(*_: Any, **__: Any) -> FoundTrace:
        return FoundTrace(trace=replace(make_traces().cuda, image_tokens=67), is_shipped=False)

    monkeypatch.setattr(module, "find_trace", traced)

    def asked(longest: int) -> RunTraces:
        spec = replace(make_spec(), task="image-text-to-text")
        spec = replace(spec, training=replace(spec.training, max_length=longest))
        entry = replace(make_entry(), max_positions=8_192)
        return run_traces(spec, entry, data=make_data(), has_cpu_offers=False, cache_dir=Path("unused"), timeout_s=1.0)

    assert asked(8_125).cuda.image_tokens == 67
    with pytest.raises(DataError, match=r"max_length is 8,126 and an image adds 67, but .* at most 8,192") as refused:
        asked(8_126)
    assert refused.value.hint == "set training.max_length to 8125 or less"
