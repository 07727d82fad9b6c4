"""Texts to token sequences of a causal language model: where each ends, what of it is learnt, what was cut.

Knows no torch; trainer and measurement hand in their own way of making ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.chat import special_tokens
from tasks.text_data import Passages

Encode = Callable[[list[str], bool], list[list[int]]]
"""Ids of texts, with the tokenizer's special tokens or without; never truncated."""
Ids = NDArray[np.int32]

_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Samples as ids, not padded."""

    ids: list[Ids]
    learnt_from: NDArray[np.int64]
    """Per sample, the first position that is learnt; at least 1, as nothing stands before the first token."""
    truncated: int
    """Samples that were longer than max_length."""
    left_out: int
    """Samples of which nothing that is learnt was left: the prompt alone is too long, or there is one token only."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample after truncation."""
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)

    @property
    def learnt(self) -> NDArray[np.int64]:
        """Tokens per sample that are learnt."""
        return self.lengths - self.learnt_from


def make_sequences(encode: Encode, passages: Passages, max_length: int, *, end_id: int | None) -> Sequences:
    """Prompt, text and end token one behind the other, cut at max_length.

    Args:
        encode: makes ids.
        passages: the samples; texts of a chat template get no further special tokens.
        max_length: longest sequence, in tokens.
        end_id: id of the end-of-text token, None: the model has none.
    """
    ids: list[Ids] = []
    starts: list[int] = []
    truncated = left_out = 0
    for at in range(0, len(passages), _CHUNK):
        texts = encode(passages.texts[at : at + _CHUNK], passages.prompts is None and not passages.is_rendered)
        prompts: list[list[int]] = [[]] * len(texts)
        if passages.prompts is not None:
            prompts = [_open(part, end_id) for part in encode(passages.prompts[at : at + _CHUNK], True)]
        for prompt, text in zip(prompts, texts, strict=True):
            needs_end = end_id is not None and not passages.is_rendered and text[-1:] != [end_id]
            whole = [*prompt, *text, *([end_id] if needs_end and end_id is not None else [])]
            start = max(1, len(prompt))
            if min(len(whole), max_length) <= start:
                left_out += 1
                continue
            truncated += len(whole) > max_length
            ids.append(np.array(whole[:max_length], dtype=np.int32))
            starts.append(start)
    return Sequences(ids=ids, learnt_from=np.array(starts, dtype=np.int64), truncated=truncated, left_out=left_out)


def end_token_id(folder: Path, token_id: Callable[[str], int | None]) -> int | None:
    """Id of the end-of-text token by the folder's files; None when they name none.

    Args:
        folder: the model.
        token_id: id of a token of the vocabulary.
    """
    name = special_tokens(folder).get("eos_token")
    if name is not None:
        return token_id(name)
    config = folder / "config.json"
    given = json.loads(config.read_text(encoding="utf-8")).get("eos_token_id") if config.is_file() else None
    if isinstance(given, list):
        given = given[0] if given else None
    return given if isinstance(given, int) else None


def _open(prompt: list[int], end_id: int | None) -> list[int]:
    """A prompt without the end token that some tokenizers put behind each text."""
    return prompt[:-1] if end_id is not None and prompt[-1:] == [end_id] else prompt
