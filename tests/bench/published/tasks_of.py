"""What a row's samples are: the kind of task, the length that governs memory, the mean length that governs time.

Owns the reading of `task`, `seq_len` and `seq_len_note`. It refuses lengths that are not stated: time and memory follow
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.bench.published.rows import Row, number_in
from tests.bench.published.words import NotExpressible, has

_SEQ2SEQ = frozenset({"t5", "mt5", "umt5", "bart", "mbart", "pegasus", "marian", "led", "bigbird_pegasus", "m2m_100"})
_ENCODERS = frozenset(
    {
        "bert",
        "roberta",
        "distilbert",
        "albert",
        "electra",
        "deberta",
        "deberta-v2",
        "xlm-roberta",
        "modernbert",
        "mpnet",
    }
    | {"camembert", "ernie", "funnel", "longformer", "big_bird", "xlnet", "esm", "nomic_bert", "reformer", "fnet"}
)
_IMAGES = frozenset(
    {"vit", "deit", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet", "regnet", "efficientnet", "focalnet"}
    | {
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilevit",
        "levit",
        "poolformer",
        "cvt",
        "dinov2",
        "timm_wrapper",
        "bit",
        "van",
    }
)
_AUDIO = frozenset(
    {
        "wav2vec2",
        "hubert",
        "wavlm",
        "unispeech",
        "unispeech-sat",
        "sew",
        "sew-d",
        "data2vec-audio",
        "wav2vec2-conformer",
    }
)
_CONTRASTIVE = frozenset({"clip", "siglip", "chinese_clip", "align", "altclip"})
_VISION_LANGUAGE = frozenset({"llava", "llava_next", "idefics2", "idefics3", "paligemma", "qwen2_vl", "qwen2_5_vl"})
_WITH_IMAGES = r"\bvision\b|[-_ ]vl\b|image ?(to|2) ?text|vision[- ]?language|\bvqa\b|visual question|multi-?modal"
"""Of models and tasks of text: an encoder of images runs too."""
_SAMPLE_RATE = 16_000
_SELDOM_REACHED = 2048
"""Tokens; a limit this long is usually longer than the longest instruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of a row."""

    task: str
    """One of TASKS."""
    length: int
    """That the highest peak sees, in the unit of the tracer."""
    mean_length: float | None
    """That time follows; None: the row does not say."""
    padded: bool
    is_longest: bool = True
    """Whether some sample is known to have this length; False: a long limit that samples may never reach."""
    num_labels: int = 2
    image_size: int | None = None
    target_share: float = 0.25


def samples_of(row: Row, config: dict[str, Any]) -> Samples:
    """Kind of task and lengths.

    Raises:
        NotExpressible: no length, several lengths, or a task that the tracer has not.
    """
    kind, words = str(config.get("model_type", "")), row.text("task")
    if kind in _IMAGES:
        return _images(row, words)
    if kind in _AUDIO:
        return _audio(row, words)
    if kind == "whisper":
        return _whisper(row, words)
    if kind in _CONTRASTIVE:
        return Samples(task="contrastive", length=77, mean_length=77, padded=False, image_size=_pixels(row))
    if kind in _VISION_LANGUAGE or has(_WITH_IMAGES, f"{row.text('model')} ; {words}"):
        raise NotExpressible("images per sample are not stated")
    task = _text_task(kind, words)
    if task == "masked-lm" and has(r"nvidia dle", row.text("framework")) and (row.value("seq_len") or 0) >= 512:
        raise NotExpressible("padding removed before the encoder")
    length = _tokens(row)
    share = re.search(r"(\d+)\s*src\s*/\s*(\d+)\s*tgt", row.text("seq_len"))
    mean = _mean_tokens(row)
    packed = _is_packed(row)
    return Samples(
        task=task,
        length=length,
        mean_length=mean if mean is not None else (length if packed or _is_fixed(row) else None),
        padded=not packed,
        is_longest=packed or not _may_be_shorter(row, length),
        num_labels=2,
        target_share=int(share[2]) / int(share[1]) if share else (1.0 if task == "seq2seq-lm" else 0.25),
    )


def _text_task(kind: str, words: str) -> str:
    if kind in _SEQ2SEQ:
        return "seq2seq-lm"
    if kind in _ENCODERS:
        if has(r"mlm|masked|pretrain|from scratch|language model", words):
            return "masked-lm"
        return "text-classification"
    if has(r"sequence classification|text classification|glue|mrpc|\bsst", words) and "clm" not in words:
        return "text-classification"
    return "causal-lm"


def _images(row: Row, words: str) -> Samples:
    if has(r"detection|segmentation|self-supervised|video|text-to-image|generation", words):
        raise NotExpressible("image task other than classification")
    classes = 1000 if not has(r"cifar10\b", words + row.text("dataset")) else 10
    return Samples(
        task="image-classification",
        length=1,
        mean_length=1,
        padded=False,
        num_labels=classes,
        image_size=_pixels(row),
    )


def _pixels(row: Row) -> int | None:
    cell = re.sub(r"\b3\s*[x\u00d7]\s*(?=\d+\s*[x\u00d7])", "", row.text("seq_len"))
    if has(r"x\s*\d+\s*x|crop", cell):
        raise NotExpressible("samples of several images")
    value = number_in(cell)
    return int(value) if value else None


def _audio(row: Row, words: str) -> Samples:
    cell = f"{row.text('seq_len')} {row.text('seq_len_note')}"
    seconds = re.search(r"(\d+\.?\d*)\s*s(ec(onds?)?)?\b", cell)
    if seconds is None:
        raise NotExpressible("length of the audio is not stated")
    length = int(float(seconds[1]) * _SAMPLE_RATE)
    is_ctc = has(r"asr|ctc|speech recognition|transcri", words)
    fixed = not has(r"max|up to|longest", cell)
    return Samples(
        task="speech-ctc" if is_ctc else "audio-classification",
        length=length,
        mean_length=length if fixed else None,
        padded=True,
        num_labels=32 if is_ctc else 12,
    )


def _whisper(row: Row, words: str) -> Samples:
    """30 s of spectrogram always; the transcript's length counts, and none is stated anywhere."""
    if has(r"classification", words):
        return Samples(task="audio-classification", length=3000, mean_length=3000, padded=False, num_labels=2)
    raise NotExpressible("length of the transcripts is not stated")


def _tokens(row: Row) -> int:
    cell = row.text("seq_len")
    if has(r"\bor\b|\d\s*\?|various|mixed|-\d", cell):
        raise NotExpressible("length is not stated clearly")
    value = number_in(cell, thousand=1024)
    if value is None or value < 1:
        raise NotExpressible("length is not stated")
    return int(value)


def _mean_tokens(row: Row) -> float | None:
    """A mean length named in the note; a median says nothing of the tokens that were computed."""
    match = re.search(r"(?:mean|average|avg)\s*(?:of|~|about|=|:)?\s*~?(\d+)", _length_words(row))
    return float(match[1]) if match else None


def _length_words(row: Row) -> str:
    return f"{row.text('seq_len_note')} ; {row.text('seq_len')}"


def _words(row: Row) -> str:
    return f"{_length_words(row)} ; {row.text('dataset')} ; {row.text('task')}"


def _may_be_shorter(row: Row, length: int) -> bool:
    """Whether no sample may have the length that is stated: a note that asks says nothing."""
    return "?" in _length_words(row) or (has(r"variable|unpacked", _words(row)) and length >= _SELDOM_REACHED)


_UNPACKED_SWITCH = r"--packing[ =]false\b"


def _says_unpacked(row: Row) -> bool:
    return has(r"unpacked|not packed|no packing", _words(row)) or has(_UNPACKED_SWITCH, row.text("notes"))


def _is_packed(row: Row) -> bool:
    if "?" in _length_words(row) or _says_unpacked(row):
        return False
    return has(r"pack|no padding|exactly|fully|synthetic|pretrain|c4\b", _words(row))


def _is_fixed(row: Row) -> bool:
    """Whether each sample has the full length, by padding or by nature."""
    words = _length_words(row)
    if has(_UNPACKED_SWITCH, row.text("notes")):
        return False
    if has(r"padded to max|padded to \d|fixed|constant|all |script default", words):
        return True
    return not has(r"max|variable|longest|up to|typical|shorter", words)
