"""Texts to token ids, and how long they are; one way of truncating for the trainer and for the planner's measurement.

Knows no torch. The trainer takes the model's own tokenizer from transformers; the measurement takes the `tokenizers`
library when the folder has a tokenizer.json, which gives the same ids and loads in a tenth of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.data import Samples
from tasks.failures import TaskError
from tasks.heartbeat import HEART
from tasks.protocol import FailureCode

_CHUNK = 5000
_FAST_FILE = "tokenizer.json"
TOKENIZER_FILES = (_FAST_FILE, "tokenizer.model", "vocab.txt", "vocab.json", "spm.model", "spiece.model")
"""One of these is in each folder with a tokenizer."""
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
"""Model types whose position table begins after the padding index, so that fewer tokens fit than it has rows."""
_LEARNT_POSITIONS = ("gpt2", "openai-gpt", "gpt_bigcode", "gptj", "codegen", "ctrl")
"""Model types that call the rows of their position table `n_positions`; others use that name for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long samples are after truncation."""

    tokens: NDArray[np.int64]
    """Per sample, special tokens included."""
    truncated: int
    """Samples that were longer than max_length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Samples as the model takes them, not padded."""

    columns: dict[str, list[list[int]]]
    """input_ids and, for models that tell two texts apart, token_type_ids; one list per sample."""
    lengths: Lengths


def check_max_length(folder: Path, max_length: int) -> None:
    """Refuse more tokens than the model has positions for.

    Raises:
        TaskError: bad_job.
    """
    config = _json(folder / "config.json")
    limits = [_json(folder / "tokenizer_config.json").get("model_max_length")]
    positions = config.get("max_position_embeddings")
    if config.get("model_type") in _LEARNT_POSITIONS:
        positions = config.get("n_positions", positions)
    if isinstance(positions, int) and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 0) + 1
    # Models with relative positions state 0 or less; tokenizers without a limit state 1e30.
    known = [int(limit) for limit in (*limits, positions) if isinstance(limit, int | float) and 0 < limit < 1e9]
    if known and max_length > min(known):
        raise TaskError(
            FailureCode.BAD_JOB,
            f"training.max_length is {max_length}, but the model takes at most {min(known)} tokens.",
            hint=f"Set training.max_length to {min(known)} or less.",
        )


def encode(tokenizer: Any, samples: Samples, max_length: int) -> Encoded:
    """Tokenize with a tokenizer of transformers."""
    columns: dict[str, list[list[int]]] = {}
    truncated = 0
    for texts, pairs in _chunks(samples):
        HEART.progress()
        batch = tokenizer(texts, pairs, truncation=True, max_length=max_length, return_attention_mask=False)
        for name in ("input_ids", "token_type_ids"):
            if name in batch:
                columns.setdefault(name, []).extend(batch[name])
        if batch.encodings is not None:
            truncated += sum(bool(encoding.overflowing) for encoding in batch.encodings)
        else:
            whole = tokenizer(texts, pairs, return_attention_mask=False, verbose=False)["input_ids"]
            truncated += sum(len(ids) > max_length for ids in whole)
    if not samples.pairs:
        # All zeros, and the model's own default.
        columns.pop("token_type_ids", None)
    tokens = np.array([len(ids) for ids in columns["input_ids"]], dtype=np.int64)
    return Encoded(columns=columns, lengths=Lengths(tokens=tokens, truncated=truncated))


def measure_lengths(folder: Path, samples: Samples, max_length: int) -> Lengths:
    """Lengths of samples in tokens of the model in this folder.

    Raises:
        TaskError: model_not_found, when the folder has no tokenizer that can be loaded.
    """
    if not (folder / _FAST_FILE).is_file():
        return encode(load_tokenizer(folder), samples, max_length).lengths
    tokenizer = _fast_tokenizer(folder)
    tokenizer.enable_truncation(max_length)
    tokens: list[int] = []
    truncated = 0
    for texts, pairs in _chunks(samples):
        batch = tokenizer.encode_batch_fast(texts if pairs is None else list(zip(texts, pairs, strict=True)))
        tokens.extend(len(encoding.ids) for encoding in batch)
        truncated += sum(bool(encoding.overflowing) for encoding in batch)
    return Lengths(tokens=np.array(tokens, dtype=np.int64), truncated=truncated)


def fast_encoder(
    folder: Path,
) -> tuple[Callable[[list[str], bool], list[list[int]]], Callable[[str], int | None]]:
    """How this folder's tokenizer makes ids of texts (with special tokens or without), and the id of a token.

    Raises:
        TaskError: model_not_found, when the folder has no tokenizer that can be loaded.
    """
    if not (folder / _FAST_FILE).is_file():
        return whole_encoder(load_tokenizer(folder))
    tokenizer = _fast_tokenizer(folder)
    tokenizer.no_truncation()

    def ids(texts: list[str], is_special: bool) -> list[list[int]]:
        return [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=is_special)]

    return ids, tokenizer.token_to_id


def whole_encoder(
    tokenizer: Any,
) -> tuple[Callable[[list[str], bool], list[list[int]]], Callable[[str], int | None]]:
    """The same with a tokenizer of transformers."""

    def ids(texts: list[str], is_special: bool) -> list[list[int]]:
        made = tokenizer(texts, add_special_tokens=is_special, return_attention_mask=False, verbose=False)
        return list(made["input_ids"])

    return ids, tokenizer.convert_tokens_to_ids


def _fast_tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer  # Deferred: folders without tokenizer.json take another road.

    try:
        tokenizer = Tokenizer.from_file(str(folder / _FAST_FILE))
    except Exception as error:
        # The library raises bare Exception for each kind of malformed file.
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"{_FAST_FILE} cannot be read: {error}") from error
    tokenizer.no_padding()
    return tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer from transformers; none of its code is executed.

    Raises:
        TaskError: model_not_found.
    """
    from transformers import AutoTokenizer  # Deferred: seconds, which a measurement can mostly do without.

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise TaskError(
            FailureCode.MODEL_NOT_FOUND,
            f"The folder has no tokenizer that can be loaded: {str(error).strip().splitlines()[0][:300]}",
            hint="Put tokenizer.json and tokenizer_config.json beside config.json.",
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _chunks(samples: Samples) -> list[tuple[list[str], list[str] | None]]:
    starts = range(0, len(samples), _CHUNK)
    return [(samples.texts[at : at + _CHUNK], samples.pairs and samples.pairs[at : at + _CHUNK]) for at in starts]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"{path.name} is no valid JSON: {error}") from error
    return content if isinstance(content, dict) else {}
