"""The whole model of several stacks between the first and the last point: as recorded, or not derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing.fit import trace_step
from tasks.tracing.models import read_config
from tasks.tracing.recording import Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import Point, samples_for
from tasks.tracing.traced_step import record_step
from tasks.tracing.whole import FEW_LAYERS, whole_recordings
from tests.support.recordings import assert_same_recording

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")]

_T5 = {"d_model": 64, "d_kv": 16, "d_ff": 160, "num_heads": 4, "vocab_size": 1000}
_CLIP = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_hidden_layers": 6}
_CONFIGS: dict[str, dict[str, Any]] = {
    "seq2seq-lm": {**_T5, "model_type": "t5", "num_layers": 6, "num_decoder_layers": 6},
    "contrastive": {
        "model_type": "clip",
        "projection_dim": 32,
        "text_config": {**_CLIP, "model_type": "clip_text_model", "vocab_size": 1000},
        "vision_config": {**_CLIP, "model_type": "clip_vision_model", "image_size": 64, "patch_size": 16},
    },
}


class _Model:
    """A model at all points; counts what is recorded of it and of the one with few layers."""

    def __init__(self, task: str, **changes: Any) -> None:
        asked = TraceRequest(config=_CONFIGS[task], task=task, method=MethodChoice(kind="full"), precision="bf16-mixed")
        self.request = replace(asked, **changes)
        config = read_config(self.request).to_dict()
        self.points = samples_for(self.request, config, with_rank=False).points
        self.asked: list[Point] = []

    def recorded(self, point: Point) -> Recording:
        self.asked.append(point)
        return record_step(self.request, batch=point.batch, length=point.length)

    def of_few(self, point: Point) -> Recording:
        return record_step(self.request, batch=point.batch, length=point.length, layers=FEW_LAYERS)

    def at_all_points(self, of_few: Callable[[Point], Recording] | None = None) -> list[Recording]:
        return whole_recordings(self.points, self.recorded, of_few or self.of_few)


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("seq2seq-lm", {}),
        ("seq2seq-lm", {"gradient_checkpointing": True, "method": MethodChoice(kind="lora"), "target_share": 0.5}),
        ("contrastive", {"precision": "fp32", "kernels": "cpu"}),
    ],
)
def test_what_is_derived_is_what_would_be_recorded(task: str, changes: dict[str, Any]) -> None:
    model = _Model(task, **changes)
    derived = model.at_all_points()
    assert model.asked == [model.points[0], model.points[-1]]
    for point, found in zip(model.points, derived, strict=True):
        expected = model.recorded(point)
        assert_same_recording(found, expected)


def test_all_points_are_recorded_where_the_small_model_does_other_things() -> None:
    model = _Model("seq2seq-lm")

    def other_work(point: Point) -> Recording:
        recording = model.of_few(point)
        return replace(recording, moved_bytes=recording.moved_bytes + point.batch)

    model.at_all_points(other_work)
    assert len(model.asked) == len(model.points)


def test_all_points_are_recorded_where_ops_that_are_alike_at_both_ends_differ_between() -> None:
    model = _Model("seq2seq-lm")

    def uneven(point: Point) -> Recording:
        recording = model.of_few(point)
        moved = recording.moved_bytes.copy()
        # Queries, keys and values take the same product.
        moved[recording.names.index("mm")] += 512 * (point == model.points[2])
        return replace(recording, moved_bytes=moved)

    model.at_all_points(uneven)
    assert len(model.asked) == len(model.points)


def test_all_points_are_recorded_where_the_model_cannot_do_with_few_layers() -> None:
    def refused(_: Point) -> Recording:
        raise RefusedModel("Two layers are too few.")

    model = _Model("seq2seq-lm")
    found = model.at_all_points(refused)
    assert model.asked == list(model.points)
    assert [recording.length for recording in found] == [point.length for point in model.points]


def test_few_layers_are_recorded_at_each_point() -> None:
    model = _Model("seq2seq-lm")
    few = {**_CONFIGS["seq2seq-lm"], "num_layers": 4, "num_decoder_layers": 4}
    small = _Model("seq2seq-lm", config=few)
    small.at_all_points(model.of_few)
    assert small.asked == list(small.points)


def test_layers_that_lack_ops_of_others_are_recorded_once() -> None:
    model, asked = _Model("seq2seq-lm"), []

    def other_ops(point: Point) -> Recording:
        asked.append(point)
        recording = model.of_few(point)
        return replace(recording, names=tuple("bmm" if name == "mm" else name for name in recording.names))

    model.at_all_points(other_ops)
    assert asked == [model.points[0]]
    assert model.asked == list(model.points)


@pytest.mark.parametrize(("layers", "two_points"), [(6, True), (2, False)])
def test_a_trace_says_whether_it_was_recorded_at_two_points_only(layers: int, two_points: bool) -> None:
    config = {**_CONFIGS["seq2seq-lm"], "num_layers": layers, "num_decoder_layers": layers}
    request = TraceRequest(config=config, task="seq2seq-lm", method=MethodChoice(), precision="bf16")
    trace = trace_step(request, config=read_config(request).to_dict(), record=record_step)
    assert trace.exact
    assert trace.two_points is two_points
