"""What lengths are counted in: characters of a token, samples of a second, tokens of a slice, batches of a group.

Standard library only: planner and trainer read the same figures.
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4.0
"""Rule of thumb for English subword vocabularies; used only where no tokenizer is at hand, and said so in `basis`."""
WAVEFORM_RATE_HZ = 16_000
"""At which speech models read a waveform."""
CHUNK_TOKENS = 1024
"""Of a chunked loss: keeps matrix units busy, and takes at most 0.5 GB of float32 logits for a vocabulary of 128k."""
RECORDING_S = 30
"""Of a recording whose duration does not count, or is not known where lengths are those of transcripts: the part that
Whisper reads, and pads shorter ones to (Radford et al. 2022, arXiv:2212.04356)."""
MOST_SAMPLES = 20_000
"""That are read to measure a data set: more tell no more about its lengths."""
SPECIAL_TOKENS = 2
"""Around a text, where no tokenizer is at hand: its start and its end."""
BATCHES_PER_GROUP = 20
"""Samples are sorted by length only among this many batches: enough to save padding, few enough to stay random."""


def padding_spans(batch_size: int) -> tuple[int, ...]:
    """Parts of a batch whose padding is measured: powers of two below it, and the whole.

    Each is a part of the next, so that padding never falls from one to the next.
    """
    return (*(2**power for power in range((batch_size - 1).bit_length())), batch_size)
