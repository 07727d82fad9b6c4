"""What lengths are counted in: characters of a token, samples of a second of sound, tokens of a slice of the loss.

Standard library only: planner and trainer read the same figures.
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4.0
"""Rule of thumb for English subword vocabularies; used only where no tokenizer is at hand, and said so in `basis`."""
WAVEFORM_RATE_HZ = 16_000
"""At which speech models read a waveform."""
CHUNK_TOKENS = 1024
"""Of a chunked loss: keeps matrix units busy, and takes at most 0.5 GB of float32 logits for a vocabulary of 128k."""
