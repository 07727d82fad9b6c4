"""A data set to look at: its first samples as the trainer sees them, whole lengths, labels by number. No torch.

Answer, without what `tasks.measure` adds:
    {"kind", "columns": [str], "rows": [[str]], "train_samples", "validation_samples", "test_samples", "labels",
     "label_counts", "bytes", "sha256", "basis", "measured",
     "lengths": {"unit", "samples", "mean", "quantiles": [[share, length]], "edges": [...], "counts": [...],
                 "over_max_length" (share, null where nothing is cut)}}
Unlike the figures of a plan, lengths are those before truncation, so that max_length can be chosen by them. Shares of
bins: the last bin of the histogram holds all that is longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.audio_data import load_audio, recording
from tasks.bucket_head import looked_at
from tasks.chat import chat_template
from tasks.data import LabelledData, load_data
from tasks.failures import TaskError
from tasks.image_data import load_images, stored_size
from tasks.kinds import TASK_KINDS
from tasks.measuring import (
    Asked,
    estimated_lengths,
    picked_samples,
    sample_encoder,
    set_sizes,
    share_in_words,
    text_lengths,
)
from tasks.media_data import Item, MediaData
from tasks.protocol import FailureCode
from tasks.reading import Notify
from tasks.sample_units import CHARACTERS_PER_TOKEN
from tasks.sequences import make_sequences
from tasks.text_data import Passages, TextData, load_pairs, load_texts
from tasks.tokens import measure_lengths

Figures = dict[str, Any]

_MOST = 5000
"""Samples whose lengths are taken: enough for a picture."""
_WHOLE = 2**31 - 1
"""A max_length that cuts nothing."""
_SHOWN_CHARACTERS = 400
"""Of one cell."""
_BINS = 20
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_LONGEST_DRAWN = 0.99
"""Share of the samples that the histogram's bins divide evenly; one very long sample would leave them all empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was seen of a data set."""

    data: LabelledData | TextData | MediaData
    columns: list[str]
    rows: Sequence[tuple[str, ...]]
    lengths: NDArray[np.float64]
    unit: str
    is_cut: bool
    """Whether training cuts at max_length."""


def previewed(asked: Asked, *, rows: int, notify: Notify) -> Figures:
    """What a person wants to see of the data before a plan.

    Raises:
        TaskError: the data cannot be used as asked.
    """
    function = _BY_TASK.get(asked.task)
    if function is None:
        raise TaskError(FailureCode.BAD_JOB, f"There is no task {asked.task!r}.", hint=f"Tasks: {', '.join(_BY_TASK)}.")
    kind = TASK_KINDS[asked.task].samples
    choice, head = looked_at(asked.data) if kind == "tokens" else (asked.data, None)
    seen = function(replace(asked, max_length=_WHOLE, data=choice), rows, notify)
    data = seen.data
    labels: Figures = {}
    if not isinstance(data, TextData) and data.labels:
        labels = {"labels": list(data.labels), "label_counts": data.label_counts()}
    is_measured = asked.folder is not None or seen.unit != "tokens"
    count = share_in_words(len(seen.lengths), len(data.train))
    estimate = f"estimated at {CHARACTERS_PER_TOKEN:g} characters a token, no tokenizer at hand"
    how = "tokenized by the model's own tokenizer" if seen.unit == "tokens" else "read from headers"
    figures: Figures = {
        "kind": kind,
        "columns": seen.columns,
        "rows": [[_short(cell) for cell in row] for row in seen.rows],
        **set_sizes(data),
        **labels,
        "lengths": _length_figures(seen, asked.max_length),
        "basis": f"{count} training samples, {how if is_measured else estimate}",
        "measured": is_measured,
    }
    return figures if head is None else head.scaled(figures, asked.data)


def _length_figures(seen: _Seen, max_length: int) -> Figures:
    lengths = seen.lengths
    if seen.unit == "tokens":
        quantiles = np.quantile(lengths, _SHARES, method="higher")
    else:
        quantiles = np.quantile(lengths, _SHARES)
    drawn = float(quantiles[_SHARES.index(_LONGEST_DRAWN)])
    start = float(quantiles[0])
    counts, edges = np.histogram(np.minimum(lengths, drawn), bins=_BINS, range=(start, max(drawn, start + 1)))
    return {
        "unit": seen.unit,
        "samples": len(lengths),
        "mean": float(lengths.mean()),
        "quantiles": [[share, float(value)] for share, value in zip(_SHARES, quantiles, strict=True)],
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
        "over_max_length": float((lengths > max_length).mean()) if seen.is_cut else None,
    }


def _text_classification(asked: Asked, rows: int, notify: Notify) -> _Seen:
    data = load_data(asked.data, seed=asked.seed, notify=notify)
    picked = data.train.take(picked_samples(len(data.train), asked.seed, most=_MOST))
    if asked.folder is None:
        tokens = estimated_lengths(picked, asked.max_length).tokens
    else:
        tokens = measure_lengths(asked.folder, picked, asked.max_length).tokens
    first = data.train.take(np.arange(min(rows, len(data.train))))
    texts: list[Sequence[str]] = [first.texts, *([first.pairs] if first.pairs else [])]
    names = [asked.data.text, *([str(asked.data.text_pair)] if first.pairs else []), asked.data.label]
    labels = [data.labels[at] for at in first.labels]
    return _tokens(data, names, list(zip(*texts, labels, strict=True)), tokens)


def _causal_lm(asked: Asked, rows: int, notify: Notify) -> _Seen:
    chat = None if asked.folder is None else chat_template(asked.folder)
    data = load_texts(asked.data, chat=chat, seed=asked.seed, notify=notify)
    picked = data.train.take(picked_samples(len(data.train), asked.seed, most=_MOST))
    encode, end_id = sample_encoder(asked)
    tokens = make_sequences(encode, picked, asked.max_length, end_id=end_id).lengths
    if not len(tokens):
        raise TaskError(FailureCode.DATA_INVALID, "No training sample has anything to learn.")
    names = [asked.data.text] if data.train.prompts is None else ["prompt", "completion"]
    return _tokens(data, names, _passages(data.train, rows), tokens)


def _seq2seq_lm(asked: Asked, rows: int, notify: Notify) -> _Seen:
    data = load_pairs(asked.data, seed=asked.seed, notify=notify)
    picked = data.train.take(picked_samples(len(data.train), asked.seed, most=_MOST))
    names = [asked.data.source_text or "source", asked.data.target_text or "target"]
    return _tokens(data, names, _passages(data.train, rows), text_lengths(picked.prompts or [], asked).tokens)


def _tokens(
    data: LabelledData | TextData, columns: list[str], rows: list[tuple[str, ...]], tokens: NDArray[np.int64]
) -> _Seen:
    lengths = tokens.astype(np.float64)
    return _Seen(data=data, columns=columns, rows=rows, lengths=lengths, unit="tokens", is_cut=True)


def _passages(passages: Passages, rows: int) -> list[tuple[str, ...]]:
    texts = passages.texts[:rows]
    return [(text,) for text in texts] if passages.prompts is None else list(zip(passages.prompts, texts, strict=False))


def _images(asked: Asked, rows: int, notify: Notify) -> _Seen:
    has_labels = TASK_KINDS[asked.task].has_labels
    data = load_images(asked.data, has_labels=has_labels, seed=asked.seed, notify=notify, with_hash=False)
    sizes = [stored_size(data.train.items[at]) for at in picked_samples(len(data.train), asked.seed, most=_MOST)]
    shown = [stored_size(item) for item in data.train.items[:rows]]
    cells = [
        (_item(item), f"{width} x {height} pixels", text)
        for item, (width, height), text in zip(data.train.items, shown, data.train.texts, strict=False)
    ]
    return _Seen(
        data=data,
        columns=["image", "size", "label" if has_labels else "text"],
        rows=cells,
        lengths=np.array([max(size) for size in sizes], dtype=np.float64),
        unit="pixels of the longer edge",
        is_cut=False,
    )


def _recordings(asked: Asked, rows: int, notify: Notify) -> _Seen:
    has_labels = TASK_KINDS[asked.task].has_labels
    data = load_audio(asked.data, has_labels=has_labels, seed=asked.seed, notify=notify, with_hash=False)
    picked = picked_samples(len(data.train), asked.seed, most=_MOST)
    shown = [recording(item) for item in data.train.items[:rows]]
    cells = [
        (_item(item), f"{found.seconds:.1f} s at {found.sampling_rate_hz:,} Hz", text)
        for item, found, text in zip(data.train.items, shown, data.train.texts, strict=False)
    ]
    return _Seen(
        data=data,
        columns=["audio", "duration", "label" if has_labels else "transcript"],
        rows=cells,
        lengths=np.array([recording(data.train.items[at]).seconds for at in picked], dtype=np.float64),
        unit="seconds",
        is_cut=False,
    )


_BY_TASK: dict[str, Callable[[Asked, int, Notify], _Seen]] = {
    "text-classification": _text_classification,
    "causal-lm": _causal_lm,
    "seq2seq-lm": _seq2seq_lm,
    "image-classification": _images,
    "audio-classification": _recordings,
    "speech-ctc": _recordings,
    "speech-seq2seq": _recordings,
    "image-text-to-text": _images,
}


def _item(item: Item) -> str:
    return getattr(item, "name", "") or "in a table or array"


def _short(text: str) -> str:
    """On one line, and not endless."""
    line = " ".join(text[: 2 * _SHOWN_CHARACTERS].split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"
