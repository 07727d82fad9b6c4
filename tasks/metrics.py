"""Metrics of classification as scikit-learn defines them, and of language models; undefined is None, never 0.

A class that occurs neither among the labels nor among the predictions is left out of macro averages; a class that is
never predicted counts there with precision 0 (scikit-learn's default), while its own precision is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.protocol import FailureCode

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The result of one evaluation."""

    loss: float
    """Mean cross-entropy in nats, per sample or per token that is learnt."""
    metrics: dict[str, float | None]
    per_class: dict[str, dict[str, float | int | None]]
    """Empty where there are no classes."""
    confusion_matrix: list[list[int]] | None
    """Rows are true classes, columns predicted ones, in the order of the labels; None where there are none."""


def classification_scores(logits: NDArray[np.float64], labels: NDArray[np.int64], names: tuple[str, ...]) -> Scores:
    """Score logits (samples x classes) against label indices.

    Raises:
        TaskError: not_a_number, when a logit is not finite.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # A second to load.

    if not np.isfinite(logits).all():
        raise TaskError(
            FailureCode.NOT_A_NUMBER,
            "The model's outputs are not finite.",
            hint="Lower training.learning_rate, or train in fp32 if the precision is bf16.",
        )
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    predicted = logits.argmax(axis=1)
    present = np.union1d(labels, predicted)
    macro = precision_recall_fscore_support(labels, predicted, labels=present, average="macro", zero_division=0)
    weighted = precision_recall_fscore_support(labels, predicted, labels=present, average="weighted", zero_division=0)
    metrics: dict[str, float | None] = {
        "accuracy": float((predicted == labels).mean()),
        "precision_macro": float(macro[0]),
        "recall_macro": float(macro[1]),
        "f1_macro": float(macro[2]),
        "f1_weighted": float(weighted[2]),
        "roc_auc": _roc_auc(np.exp(log_probabilities), labels),
    }
    return Scores(
        loss=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        metrics=metrics,
        per_class=_per_class(labels, predicted, names),
        confusion_matrix=confusion_matrix(labels, predicted, labels=np.arange(len(names))).tolist(),
    )


def language_scores(rows: NDArray[np.float64]) -> Scores:
    """Score a language model from rows of loss in nats, tokens, and tokens ranked first (samples x 3).

    Perplexity is exp of the mean loss per token; None where that is too large for a number.

    Raises:
        TaskError: not_a_number, when a loss is not finite.
    """
    loss_sum, tokens, right = (float(column) for column in rows.sum(axis=0))
    if not math.isfinite(loss_sum):
        raise TaskError(
            FailureCode.NOT_A_NUMBER,
            "The model's outputs are not finite.",
            hint="Lower training.learning_rate, or train in fp32 if the precision is bf16.",
        )
    loss = loss_sum / tokens
    metrics: dict[str, float | None] = {
        "perplexity": math.exp(loss) if loss < _LARGEST_EXPONENT else None,
        "token_accuracy": right / tokens,
    }
    return Scores(loss=loss, metrics=metrics, per_class={}, confusion_matrix=None)


def _roc_auc(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve; macro average of one-vs-rest for more than two classes; None when a class is absent."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


def _per_class(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(names)), average=None, zero_division=np.nan
    )
    return {
        name: {
            "precision": _defined(columns[0][at]),
            "recall": _defined(columns[1][at]),
            "f1": _defined(columns[2][at]),
            "support": int(columns[3][at]),
        }
        for at, name in enumerate(names)
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
