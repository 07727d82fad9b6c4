"""The plan's line about the data is in the unit of the data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.cli.plan_view import _data_text
from manager.workload.profile import DataStats

_TEXT = DataStats(
    train_samples=1200,
    validation_samples=10,
    test_samples=10,
    labels=(),
    mean_tokens=40.0,
    longest_tokens=64,
    padded_mean_tokens=50.0,
    truncated_share=0.25,
    bytes=1,
    sha256=None,
    basis="",
    measured=True,
    packed_sequences=800,
)
_IMAGES = replace(_TEXT, kind="images", mean_width=28.0, mean_height=30.0, largest_width=28, largest_height=64)
_AUDIO = replace(_TEXT, kind="audio", mean_seconds=3.25, longest_seconds=15.0)


@pytest.mark.parametrize(
    ("data", "is_packed", "text"),
    [
        (_TEXT, False, "1,200 samples to train on, 40 tokens on average, 64 the longest, 25% cut"),
        (_TEXT, True, "64 the longest, 25% cut, packed into 800 sequences"),
        (_IMAGES, False, "1,200 images to train on, 28 x 30 pixels on average, 28 x 64 at most"),
        (_AUDIO, False, "1,200 recordings to train on, 3.2 s on average, 15.0 s the longest"),
    ],
)
def test_the_unit_is_that_of_the_data(data: DataStats, is_packed: bool, text: str) -> None:
    assert text in _data_text(data, is_packed=is_packed)


def test_padding_follows_from_the_lengths() -> None:
    assert _TEXT.padding_share == pytest.approx(0.2)
    assert replace(_TEXT, mean_tokens=0.0, padded_mean_tokens=0.0).padding_share == 0.0
    assert (_TEXT.training_sequences(is_packed=True), _TEXT.training_sequences(is_packed=False)) == (800, 1200)
