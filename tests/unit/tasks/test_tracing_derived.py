"""The deeper model between the first and the last point: as recorded, or not derived."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing.derived import deeper_recordings
from tasks.tracing.layout import SmallDepths, small_depths
from tasks.tracing.models import read_config
from tasks.tracing.recording import Recording
from tasks.tracing.samples import Point, samples_for
from tasks.tracing.stack import Stack
from tasks.tracing.traced_step import record_step
from tests.support.recordings import assert_same_recording

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")]

_SIZES = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "vocab_size": 1000}
_LLAMA = {**_SIZES, "model_type": "llama", "num_hidden_layers": 16, "num_key_value_heads": 2}
_BERT = {**_SIZES, "model_type": "bert", "num_hidden_layers": 12}
_GEMMA = {**_LLAMA, "model_type": "gemma2", "head_dim": 16}
_REQUEST = TraceRequest(config=_LLAMA, task="causal-lm", method=MethodChoice(kind="full"), precision="bf16")


class _Two:
    """Both depths of a model at all points; counts what is recorded of the deeper."""

    def __init__(self, **changes: Any) -> None:
        self.request = replace(_REQUEST, **changes)
        config = read_config(self.request).to_dict()
        depths = small_depths(config)
        assert depths is not None
        self.depths: SmallDepths = depths
        self.points = samples_for(self.request, config, with_rank=False).points
        self.fewer = Stack([self._record(point, depths.fewer) for point in self.points])
        self.asked: list[Point] = []

    def recorded(self, point: Point) -> Recording:
        self.asked.append(point)
        return self._record(point, self.depths.more)

    def deeper(self, fewer: Stack | None = None) -> list[Recording]:
        return deeper_recordings(fewer or self.fewer, self.points, self.depths, self.recorded)

    def _record(self, point: Point, layers: int) -> Recording:
        return record_step(self.request, batch=point.batch, length=point.length, layers=layers)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True, "method": MethodChoice(kind="lora"), "precision": "bf16-mixed"},
        # Its periods of two layers do not stand in the same places in both depths.
        {"config": _GEMMA, "gradient_checkpointing": True, "method": MethodChoice(kind="lora")},
        {"config": _BERT, "task": "text-classification", "precision": "fp32", "kernels": "cpu"},
    ],
)
def test_what_is_derived_is_what_would_be_recorded(changes: dict[str, Any]) -> None:
    two = _Two(**changes)
    derived = two.deeper()
    assert two.asked == [two.points[0], two.points[-1]]
    for point, found in zip(two.points, derived, strict=True):
        expected = two.recorded(point)
        assert_same_recording(found, expected)


def test_what_the_shallower_model_does_not_show_is_recorded() -> None:
    two = _Two()
    rows = two.fewer.first.storages
    largest = int(rows[:, 0].argmax())
    odd = rows.copy()
    odd[largest, 0] += 512
    # At the last point only: as if a tensor of the deeper model grew otherwise with the batch.
    others = [*two.fewer.recordings[:-1], replace(two.fewer.recordings[-1], storages=odd)]
    assert len(two.deeper(Stack(others))) == len(two.points)
    assert sorted(two.asked, key=two.points.index) == list(two.points)


def test_recordings_without_storages_are_all_made() -> None:
    two = _Two()
    kept = two.recorded

    def bare(point: Point) -> Recording:
        return replace(kept(point), storages=np.zeros((0, 4), dtype=np.int64))

    assert len(deeper_recordings(two.fewer, two.points, two.depths, bare)) == len(two.points)
    assert two.asked == list(two.points)
