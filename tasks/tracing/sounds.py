"""What speech models read of a recording: the waveform, or a spectrogram with so many frames and bins.

Figures are those of each type's feature extractor in transformers; all of them sample at 16 kHz. A recording for which
the length of a sample is not that of its sound (speech-seq2seq counts the transcript) is 30 s long, as Whisper pads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tasks.sample_units import RECORDING_S, WAVEFORM_RATE_HZ

_PARTS = ("encoder_config", "audio_config", "speech_encoder")
"""Under which composite configs keep what hears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spectrogram:
    """Frames x bins of the models of one type."""

    samples_per_frame: int
    """Of the waveform: hop length times the frames that are stacked."""
    bins: tuple[str, ...]
    """Field of the config with the bins of a frame, in it or in one of its parts."""


_STACKED = _Spectrogram(samples_per_frame=2 * 160, bins=("feature_projection_input_dim",))
"""SeamlessM4TFeatureExtractor: hops of 160 samples, two frames side by side."""
_PLAIN = _Spectrogram(samples_per_frame=160, bins=("num_mel_bins", "input_feat_per_channel"))
_SPECTROGRAMS = {
    "wav2vec2-bert": _STACKED,
    "seamless_m4t": _STACKED,
    "seamless_m4t_v2": _STACKED,
    "speech_to_text": _PLAIN,
    "parakeet_ctc": _PLAIN,
    "lasr_ctc": _PLAIN,
    "canary": _PLAIN,
    "cohere_asr": _PLAIN,
}


def takes_recordings_of_30_s(task: str, model_type: str) -> bool:
    """Whether the length of recordings is assumed, which Whisper fixes and others do not."""
    return task == "speech-seq2seq" and model_type != "whisper"


def sound_inputs(
    task: str, config: Any, *, batch: int, length: int, dtype: torch.dtype, device: str, padded: bool
) -> dict[str, torch.Tensor]:
    """Inputs of a batch of recordings.

    Args:
        task: of the request.
        config: of the model.
        batch: samples.
        length: of a sample, in the unit of the task.
        dtype: of sound.
        device: of the tensors.
        padded: recordings of several lengths, so that there is a mask where the model takes one.
    """

    def floats(*shape: int) -> torch.Tensor:
        return torch.zeros(batch, *shape, dtype=dtype, device=device)

    kind = config.model_type
    if kind == "audio-spectrogram-transformer":
        return {"input_values": floats(int(config.max_length), int(config.num_mel_bins))}
    if kind == "whisper":
        # Thirty seconds, always: two frames per position of the encoder.
        return {"input_features": floats(int(config.num_mel_bins), 2 * int(config.max_source_positions))}
    samples = RECORDING_S * WAVEFORM_RATE_HZ if task == "speech-seq2seq" else length
    spectrogram = _SPECTROGRAMS.get(kind)
    if spectrogram is not None:
        samples //= spectrogram.samples_per_frame
        inputs = {"input_features": floats(samples, _bins(config, spectrogram))}
    else:
        inputs = {"input_values": floats(samples)}
    # Models whose first layer normalizes over time take no mask; their processors make none.
    if padded and getattr(config, "feat_extract_norm", "layer") != "group":
        inputs["attention_mask"] = torch.ones(batch, samples, dtype=torch.long, device=device)
    return inputs


def _bins(config: Any, spectrogram: _Spectrogram) -> int:
    parts = [config, *(part for name in _PARTS if (part := getattr(config, name, None)) is not None)]
    return next(
        int(value) for part in parts for name in spectrogram.bins if (value := getattr(part, name, None)) is not None
    )
