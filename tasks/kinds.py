"""The kinds of task: which data columns, metrics and samples each has, and whether it can be trained here yet.

Owns names only; standard library only, because the manager reads them and loads no training library.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSIFICATION_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted", "roc_auc")
LANGUAGE_METRICS = ("perplexity", "token_accuracy")
LOWER_IS_BETTER = frozenset({"perplexity"})
UNBOUNDED = frozenset({"perplexity"})
"""Metrics that are no share of something: they go above 1 and are no percentage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """One kind of task."""

    name: str
    columns: tuple[str, ...]
    """Fields of DataChoice that name columns for it."""
    samples: str
    """What a sample is counted in: tokens, images or audio."""
    metrics: tuple[str, ...]
    """Names that `training.metric` and `target.metric` may have."""
    default_metric: str
    length: str
    """What the length of a sample is counted in, as DataStats and traces count it: tokens, images (1 each) or waveform
    (samples of it at 16 kHz)."""
    is_trained: bool
    """Whether `tasks.train` can carry it out; the others can be planned."""

    @property
    def has_labels(self) -> bool:
        """Whether samples belong to classes."""
        return "label" in self.columns


def _kind(name: str, columns: str, samples: str, *, length: str | None = None, is_trained: bool = False) -> TaskKind:
    has_labels = "label" in columns.split()
    return TaskKind(
        name=name,
        columns=tuple(columns.split()),
        samples=samples,
        length=length or samples,
        metrics=CLASSIFICATION_METRICS if has_labels else LANGUAGE_METRICS,
        default_metric="f1_macro" if has_labels else "perplexity",
        is_trained=is_trained,
    )


TASK_KINDS: dict[str, TaskKind] = {
    kind.name: kind
    for kind in (
        _kind("text-classification", "text text_pair label", "tokens", is_trained=True),
        _kind("causal-lm", "text prompt completion messages", "tokens", is_trained=True),
        _kind("seq2seq-lm", "source_text target_text", "tokens"),
        _kind("image-classification", "image label", "images", is_trained=True),
        _kind("audio-classification", "audio label", "audio", length="waveform"),
        _kind("speech-ctc", "audio transcript", "audio", length="waveform"),
        _kind("speech-seq2seq", "audio transcript", "audio", length="tokens"),
        _kind("image-text-to-text", "image text", "images", length="tokens"),
    )
}
DATA_COLUMNS = tuple(dict.fromkeys(column for kind in TASK_KINDS.values() for column in kind.columns))
"""Fields of DataChoice that name columns, of all tasks."""
TEXT_COLUMN = "text"
"""data.text where nobody names one; a language model then takes prompts or conversations if the data has those."""


def headline_metric(task: str) -> str:
    """What runs of a task are about in one number: accuracy where there are classes, else perplexity."""
    kind = TASK_KINDS.get(task)
    return "accuracy" if kind is None or kind.has_labels else "perplexity"


def is_better(metric: str, value: float, than: float, *, by: float = 0.0) -> bool:
    """Whether a metric's value beats another one by more than a margin."""
    return value < than - by if metric in LOWER_IS_BETTER else value > than + by


def reaches(metric: str, value: float, target: float) -> bool:
    """Whether a metric's value is at least as good as a target."""
    return value <= target if metric in LOWER_IS_BETTER else value >= target
