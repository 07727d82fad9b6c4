"""Metrics against numbers worked out by hand; undefined is None."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.failures import TaskError
from tasks.kinds import CLASSIFICATION_METRICS
from tasks.metrics import classification_scores


def test_three_classes_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    predicted = [0, 1, 1, 1, 0]
    logits = np.eye(3)[predicted] * 4.0
    scores = classification_scores(logits, labels, ("a", "b", "c"))
    assert tuple(scores.metrics) == CLASSIFICATION_METRICS
    assert scores.confusion_matrix == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores.metrics["accuracy"] == pytest.approx(3 / 5)
    assert scores.metrics["precision_macro"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert scores.metrics["recall_macro"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert scores.metrics["f1_macro"] == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    assert scores.metrics["f1_weighted"] == pytest.approx((2 * 1 / 2 + 2 * 4 / 5 + 0) / 5)
    assert scores.per_class["c"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}
    right, wrong = math.log(1 + 2 * math.exp(-4)), 4 + math.log(1 + 2 * math.exp(-4))
    assert scores.loss == pytest.approx((3 * right + 2 * wrong) / 5)


def test_roc_auc_by_hand() -> None:
    logits = np.array([[0.0, 0.1], [0.0, 0.4], [0.0, 0.3], [0.0, 0.8]])
    assert classification_scores(logits, np.array([0, 0, 1, 1]), ("no", "yes")).metrics["roc_auc"] == 0.75


def test_what_is_undefined_is_none() -> None:
    scores = classification_scores(np.array([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0]]), np.array([0, 1]), ("a", "b", "c"))
    assert scores.metrics["roc_auc"] is None
    assert scores.per_class["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    # A class that is neither there nor predicted takes no part in the average.
    assert scores.metrics["recall_macro"] == 0.5


def test_large_logits_do_not_overflow() -> None:
    scores = classification_scores(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 1]), ("a", "b"))
    assert scores.loss == 0.0
    assert scores.metrics["roc_auc"] == 1.0


def test_outputs_that_are_no_numbers() -> None:
    with pytest.raises(TaskError) as caught:
        classification_scores(np.array([[np.nan, 0.0]]), np.array([0]), ("a", "b"))
    assert caught.value.code == "not_a_number"
