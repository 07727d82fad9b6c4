"""One function per kind of data: load it as the trainer does, and measure it. No torch.

Large sets are measured by a seeded sample, said so in `basis`. Texts need the model's tokenizer; without one their
length is estimated from characters, said so too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.audio_data import load_audio, recording
from tasks.bucket_head import looked_at
from tasks.chat import chat_template
from tasks.data import LabelledData, Samples, load_data
from tasks.failures import TaskError
from tasks.figures import (
    Figures,
    audio_figures,
    image_figures,
    length_figures,
    packing_figures,
    target_figures,
    waveform_lengths,
)
from tasks.image_data import load_images, stored_size
from tasks.job import DataChoice
from tasks.kinds import TASK_KINDS
from tasks.media_data import MediaData
from tasks.protocol import FailureCode
from tasks.reading import Notify
from tasks.sample_units import CHARACTERS_PER_TOKEN, MOST_SAMPLES
from tasks.sequences import Encode, end_token_id, make_sequences
from tasks.text_data import TextData, load_pairs, load_texts
from tasks.tokens import Lengths, fast_encoder, measure_lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured."""

    task: str
    folder: Path | None
    """The model; None: lengths are estimated."""
    data: DataChoice
    max_length: int
    batch_size: int
    seed: int


def measured(asked: Asked, notify: Notify) -> Figures:
    """The figures of a data set for this task; see `tasks.measure` for their names.

    Raises:
        TaskError: the data cannot be used as asked.
    """
    function = _BY_TASK.get(asked.task)
    if function is None:
        raise TaskError(FailureCode.BAD_JOB, f"There is no task {asked.task!r}.", hint=f"Tasks: {', '.join(_BY_TASK)}.")
    kind = TASK_KINDS[asked.task].samples
    choice, head = looked_at(asked.data) if kind == "tokens" else (asked.data, None)
    figures = function(replace(asked, data=choice), notify)
    return {"kind": kind, **(figures if head is None else head.scaled(figures, asked.data))}


def _text_classification(asked: Asked, notify: Notify) -> Figures:
    data = load_data(asked.data, seed=asked.seed, notify=notify)
    picked = picked_samples(len(data.train), asked.seed)

    def lengths_of(samples: Samples) -> Lengths:
        if asked.folder is None:
            return estimated_lengths(samples, asked.max_length)
        return measure_lengths(asked.folder, samples, asked.max_length)

    lengths = lengths_of(data.train.take(picked))
    held = [
        lengths_of(part.take(picked_samples(len(part), asked.seed))).tokens for part in (data.validation, data.test)
    ]
    return {
        **set_sizes(data),
        "labels": list(data.labels),
        "label_counts": data.label_counts(),
        **_lengths(lengths.tokens, lengths.truncated, asked, held),
        **_text_basis(asked, len(picked), len(data.train)),
    }


def _causal_lm(asked: Asked, notify: Notify) -> Figures:
    chat = None if asked.folder is None else chat_template(asked.folder)

    def notify_known(code: str, message: str) -> None:
        # Without the model it is not known whether it has a template.
        if asked.folder is not None or code != "no_chat_template":
            notify(code, message)

    data = load_texts(asked.data, chat=chat, seed=asked.seed, notify=notify_known)
    picked = picked_samples(len(data.train), asked.seed)
    encode, end_id = sample_encoder(asked)
    found = make_sequences(encode, data.train.take(picked), asked.max_length, end_id=end_id)
    if not len(found.ids):
        raise TaskError(
            FailureCode.DATA_INVALID,
            "No training sample has anything to learn within training.max_length.",
            hint=f"Prompts fill all of the {asked.max_length} tokens; raise training.max_length.",
        )
    if found.left_out:
        notify("nothing_to_learn", f"{found.left_out} of {len(picked)} samples have nothing to learn; left out.")
    held = [
        make_sequences(
            encode, part.take(picked_samples(len(part), asked.seed)), asked.max_length, end_id=end_id
        ).lengths
        for part in (data.validation, data.test)
    ]
    kept = math.ceil(len(data.train) * len(found.ids) / len(picked))
    return {
        **set_sizes(data),
        "train_samples": kept,
        **_lengths(found.lengths, found.truncated, asked, held),
        **target_figures(found.learnt),
        **packing_figures(found.lengths, asked.max_length, samples=kept),
        **_text_basis(asked, len(picked), len(data.train)),
    }


def _seq2seq_lm(asked: Asked, notify: Notify) -> Figures:
    data = load_pairs(asked.data, seed=asked.seed, notify=notify)
    picked = picked_samples(len(data.train), asked.seed)
    passages = data.train.take(picked)
    sources = text_lengths(passages.prompts or [], asked)
    parts = [part.take(picked_samples(len(part), asked.seed)) for part in (data.validation, data.test)]
    held = [text_lengths(part.prompts or [], asked).tokens for part in parts]
    targets = [text_lengths(part.texts, asked).tokens for part in parts]
    return {
        **set_sizes(data),
        **_lengths(sources.tokens, sources.truncated, asked, held),
        **target_figures(text_lengths(passages.texts, asked).tokens, targets),
        **_text_basis(asked, len(picked), len(data.train)),
    }


def _image_classification(asked: Asked, notify: Notify) -> Figures:
    data = load_images(asked.data, seed=asked.seed, notify=notify, with_hash=False)
    picked = picked_samples(len(data.train), asked.seed)
    return {
        **set_sizes(data),
        "labels": list(data.labels),
        "label_counts": data.label_counts(),
        **image_figures([stored_size(data.train.items[at]) for at in picked]),
        **_media_basis("images", len(picked), len(data.train)),
    }


def _audio_classification(asked: Asked, notify: Notify) -> Figures:
    data = load_audio(asked.data, has_labels=True, seed=asked.seed, notify=notify, with_hash=False)
    labels = {"labels": list(data.labels), "label_counts": data.label_counts()}
    return {**_recordings(data, asked), **labels}


def _speech_ctc(asked: Asked, notify: Notify) -> Figures:
    data = load_audio(asked.data, has_labels=False, seed=asked.seed, notify=notify, with_hash=False)
    # Such models spell: a character is a token.
    spelt, *held = [
        np.array([len(part.texts[at]) for at in picked_samples(len(part), asked.seed)], dtype=np.int64)
        for part in (data.train, data.validation, data.test)
    ]
    return {**_recordings(data, asked), **target_figures(spelt, held)}


def _speech_seq2seq(asked: Asked, notify: Notify) -> Figures:
    data = load_audio(asked.data, has_labels=False, seed=asked.seed, notify=notify, with_hash=False)
    transcripts = text_lengths([data.train.texts[at] for at in picked_samples(len(data.train), asked.seed)], asked)
    figures = _recordings(data, asked)
    # The encoder reads a spectrogram of fixed length; what varies is the transcript.
    held = [
        text_lengths([part.texts[at] for at in picked_samples(len(part), asked.seed)], asked).tokens
        for part in (data.validation, data.test)
    ]
    figures |= target_figures(transcripts.tokens, held)
    figures |= _lengths(transcripts.tokens, transcripts.truncated, asked, held)
    if asked.folder is None:
        basis = f"transcripts estimated at {CHARACTERS_PER_TOKEN:g} characters a token, no tokenizer at hand"
        figures |= {"basis": f"{figures['basis']}; {basis}", "measured": False}
    return figures


def _image_text(asked: Asked, notify: Notify) -> Figures:
    data = load_images(asked.data, has_labels=False, seed=asked.seed, notify=notify, with_hash=False)
    picked = picked_samples(len(data.train), asked.seed)
    texts = text_lengths([data.train.texts[at] for at in picked], asked)
    held = [
        text_lengths([part.texts[at] for at in picked_samples(len(part), asked.seed)], asked).tokens
        for part in (data.validation, data.test)
    ]
    figures = {
        **set_sizes(data),
        **image_figures([stored_size(data.train.items[at]) for at in picked]),
        **_media_basis("images", len(picked), len(data.train)),
        **_lengths(texts.tokens, texts.truncated, asked, held),
    }
    if asked.folder is None:
        basis = f"texts estimated at {CHARACTERS_PER_TOKEN:g} characters a token, no tokenizer at hand"
        figures |= {"basis": f"{figures['basis']}; {basis}", "measured": False}
    return figures


_BY_TASK: dict[str, Callable[[Asked, Notify], Figures]] = {
    "text-classification": _text_classification,
    "causal-lm": _causal_lm,
    "seq2seq-lm": _seq2seq_lm,
    "image-classification": _image_classification,
    "audio-classification": _audio_classification,
    "speech-ctc": _speech_ctc,
    "speech-seq2seq": _speech_seq2seq,
    "image-text-to-text": _image_text,
}


def picked_samples(samples: int, seed: int, *, most: int | None = None) -> NDArray[np.int64]:
    """Indices of the samples that are measured, in order; at most so many, None: as many as a plan needs."""
    most = MOST_SAMPLES if most is None else most
    if samples <= most:
        return np.arange(samples)
    return np.sort(np.random.default_rng(seed).choice(samples, most, replace=False))


def set_sizes(data: LabelledData | TextData | MediaData) -> Figures:
    """Samples of the three sets, no labels, size and hash of the source."""
    return {
        "train_samples": len(data.train),
        "validation_samples": len(data.validation),
        "test_samples": len(data.test),
        "labels": [],
        "label_counts": {},
        "bytes": data.bytes,
        "sha256": data.sha256,
    }


def _lengths(tokens: NDArray[np.int64], truncated: int, asked: Asked, held: Sequence[NDArray[np.int64]]) -> Figures:
    """Of the training set; the longest also of the held-out sets, which are evaluated at their own length."""
    figures = length_figures(tokens, truncated=truncated, batch_size=asked.batch_size, seed=asked.seed)
    return figures | {"longest_tokens": max(int(part.max()) for part in (tokens, *held) if len(part))}


def _recordings(data: MediaData, asked: Asked) -> Figures:
    picked = picked_samples(len(data.train), asked.seed)
    found = [recording(data.train.items[at]) for at in picked]
    held = [
        waveform_lengths([recording(part.items[at]) for at in picked_samples(len(part), asked.seed)])
        for part in (data.validation, data.test)
    ]
    return {
        **set_sizes(data),
        **_lengths(waveform_lengths(found), 0, asked, held),
        **audio_figures(found),
        **_media_basis("recordings", len(picked), len(data.train)),
    }


def _text_basis(asked: Asked, picked: int, samples: int) -> Figures:
    if asked.folder is None:
        basis = f"estimated at {CHARACTERS_PER_TOKEN:g} characters a token, no tokenizer at hand"
    else:
        basis = f"{share_in_words(picked, samples)} training samples tokenized"
    return {"basis": basis, "measured": asked.folder is not None}


def _media_basis(what: str, picked: int, samples: int) -> Figures:
    return {"basis": f"headers of {share_in_words(picked, samples)} training {what} read", "measured": True}


def share_in_words(picked: int, samples: int) -> str:
    """`all 1,200`, or how many of them were taken."""
    return f"all {samples:,}" if picked == samples else f"a seeded sample of {picked:,} of {samples:,}"


def estimated_lengths(samples: Samples, max_length: int) -> Lengths:
    """Lengths from characters, where no tokenizer is at hand."""
    pairs = samples.pairs or [""] * len(samples)
    characters = [len(text) + len(pair) for text, pair in zip(samples.texts, pairs, strict=True)]
    return _from_characters(characters, max_length)


def _from_characters(characters: Sequence[int], max_length: int) -> Lengths:
    tokens = np.array([math.ceil(count / CHARACTERS_PER_TOKEN) + 2 for count in characters], dtype=np.int64)
    return Lengths(tokens=np.minimum(tokens, max_length), truncated=int((tokens > max_length).sum()))


def text_lengths(texts: list[str], asked: Asked) -> Lengths:
    """Lengths of single texts, measured where there is a model, else estimated."""
    if asked.folder is None:
        return _from_characters([len(text) for text in texts], asked.max_length)
    samples = Samples(texts=texts, pairs=None, labels=np.zeros(len(texts), dtype=np.int64))
    return measure_lengths(asked.folder, samples, asked.max_length)


def sample_encoder(asked: Asked) -> tuple[Encode, int | None]:
    """How ids are made, and the end token; without a model, stand-ins of the estimated length."""
    if asked.folder is not None:
        encode, token_id = fast_encoder(asked.folder)
        return encode, end_token_id(asked.folder, token_id)

    def estimate(texts: list[str], is_special: bool) -> list[list[int]]:
        return [[1] * math.ceil(len(text) / CHARACTERS_PER_TOKEN) for text in texts]

    return estimate, 0
