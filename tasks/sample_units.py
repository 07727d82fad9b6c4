"""What lengths are counted in where nobody has read them: characters of a token, samples of a second of sound.

Standard library only: planner and trainer read the same figures.
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4.0
"""Rule of thumb for English subword vocabularies; used only where no tokenizer is at hand, and said so in `basis`."""
WAVEFORM_RATE_HZ = 16_000
"""At which speech models read a waveform."""
