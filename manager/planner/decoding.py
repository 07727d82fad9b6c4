"""Seconds in which the host turns stored images and recordings into numbers.

The training program decodes each sample whenever it is taken, on one core and between steps, so that this time adds to
that of the device. Text is tokenized once, before training, and is a phase of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from manager.planner.assumptions import AssumedQuantity
from manager.units import Interval
from manager.workload.profile import DataStats
from tasks.kinds import TASK_KINDS
from tasks.sample_units import RECORDING_S, WAVEFORM_RATE_HZ

_RATES = {"images": "decode_rate", "audio": "sound_rate"}
_MEGA = 1e6
_MADE_PIXELS = 224 * 224
"""Of the image that the model sees, at the size that most models have."""
_UNREAD_PIXELS = 500 * 375
"""Of an image whose size was not read: ImageNet's mean (Deng et al. 2009)."""
NOTHING = Interval(low=0.0, expected=0.0, high=0.0)


def rate_name(kind: str) -> str | None:
    """The assumption that decoding rests on; None where nothing is decoded."""
    return _RATES.get(kind)


def decoding_s(task: str, data: DataStats, samples: float, rows: Mapping[str, AssumedQuantity]) -> Interval:
    """Seconds for so many samples; zero for text."""
    name = rate_name(data.kind)
    if name is None:
        return NOTHING
    rate = rows[name].value
    amount = samples * (_megapixels(data) if data.kind == "images" else _seconds_of_sound(task, data))
    return Interval(low=amount / rate.high, expected=amount / rate.expected, high=amount / rate.low)


def _megapixels(data: DataStats) -> float:
    """Read and made for one image."""
    is_read = data.mean_width is not None and data.mean_height is not None
    stored = (data.mean_width or 0) * (data.mean_height or 0) if is_read else _UNREAD_PIXELS
    return (stored + _MADE_PIXELS) / _MEGA


def _seconds_of_sound(task: str, data: DataStats) -> float:
    if data.mean_seconds is not None:
        return data.mean_seconds
    return data.mean_tokens / WAVEFORM_RATE_HZ if TASK_KINDS[task].length == "waveform" else RECORDING_S
