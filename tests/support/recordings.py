"""Comparison of recorded steps."""

from __future__ import annotations

import numpy as np

from tasks.tracing.recording import Recording


def assert_same_recording(found: Recording, expected: Recording) -> None:
    """Equal in all numbers, names and phases."""
    for name in ("live_bytes", "flops", "moved_bytes", "lives", "storages"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("batch", "length", "rank", "names", "phases", "layer_input_bytes", "weights_bytes", "attention"):
        assert getattr(found, name) == getattr(expected, name)
