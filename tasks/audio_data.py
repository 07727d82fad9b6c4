"""Recordings with labels or transcripts, and how long they are: headers only, nothing is decoded."""

from __future__ import annotations

import importlib
import importlib.util
from io import BytesIO
from pathlib import Path

import numpy as np

from tasks.failures import TaskError
from tasks.job import DataChoice
from tasks.media_data import Item, MediaData, MediaKind, load_media
from tasks.media_headers import AUDIO_SUFFIXES, Recording, wav_recording
from tasks.protocol import FailureCode
from tasks.reading import Notify

AUDIO = MediaKind(
    name="audio", text="transcript", suffixes=AUDIO_SUFFIXES, columns=("audio", "path", "file_name", "file")
)


def load_audio(choice: DataChoice, *, has_labels: bool, seed: int, notify: Notify, with_hash: bool) -> MediaData:
    """Fetch, read, check and split recordings, with labels or else with transcripts.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job.
    """
    return load_media(choice, AUDIO, has_labels=has_labels, seed=seed, notify=notify, with_hash=with_hash)


def recording(item: Item) -> Recording:
    """Duration and sampling rate; WAV by the standard library, other formats by soundfile where it is installed.

    Raises:
        TaskError: data_invalid, when it cannot be read or soundfile is missing.
    """
    assert not isinstance(item, np.ndarray), "arrays hold images only"
    name = item.name if isinstance(item, Path) else "A recording"
    try:
        return wav_recording(item)
    except (ValueError, OSError) as error:
        if importlib.util.find_spec("soundfile") is None:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"{name} cannot be read: {error}.",
                hint="Formats other than WAV need the package soundfile: pip install soundfile.",
            ) from error
    return _by_soundfile(item, name)


def _by_soundfile(item: Path | bytes, name: str) -> Recording:
    soundfile = importlib.import_module("soundfile")  # Deferred: not every installation has it.
    try:
        info = soundfile.info(BytesIO(item) if isinstance(item, bytes) else str(item))
    except (RuntimeError, OSError) as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{name} cannot be read: {str(error)[:200]}.") from error
    return Recording(seconds=float(info.duration), sampling_rate_hz=int(info.samplerate))
