"""What the run file may say about each kind of task."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from manager.errors import SpecError
from manager.spec.model import RunSpec
from manager.spec.reader import parse_spec
from manager.spec.schema import Metric, Task
from tasks.kinds import CLASSIFICATION_METRICS, LANGUAGE_METRICS, TASK_KINDS

_HEAD = "schema: 1\nname: news\nmodel: m\n"


def _parse(text: str) -> RunSpec:
    return parse_spec(_HEAD + text, name="f", folder=Path("/somewhere"))


def test_schema_and_kinds_know_the_same_names() -> None:
    assert get_args(Task) == tuple(TASK_KINDS)
    assert get_args(Metric) == (*CLASSIFICATION_METRICS, *LANGUAGE_METRICS)


@pytest.mark.parametrize("task", list(TASK_KINDS))
def test_each_task_has_a_default_metric_of_its_own(task: str) -> None:
    spec = _parse(f"task: {task}\ndata: ./d.csv\n")
    assert spec.task == task
    assert spec.training.metric == TASK_KINDS[task].default_metric
    assert spec.training.metric in TASK_KINDS[task].metrics


def test_columns_and_packing_of_a_language_model() -> None:
    text = "task: causal-lm\ndata: {source: a.csv, prompt: q, completion: a}\ntraining: {packing: true}\n"
    spec = _parse(text + "target: {metric: perplexity, value: 12}\n")
    assert (spec.data.prompt, spec.data.completion, spec.training.packing) == ("q", "a", True)
    assert spec.target is not None
    assert spec.target.value == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: causal-lm\ndata: {source: a.csv, label: x}\n",
            "label is no column of causal-lm, whose columns",
        ),
        ("data: {source: a.csv, transcript: x}\n", "transcript is no column of text-classification"),
        ("task: image-classification\ndata: {source: a, text: x}\n", "text is no column of image-classification"),
        ("task: causal-lm\ndata: {source: a.csv, prompt: x}\n", "prompt and completion are columns that go together"),
        (
            "task: causal-lm\ndata: {source: a.csv, messages: m, prompt: x, completion: y}\n",
            "name either messages, or prompt and completion",
        ),
        ("data: a.csv\ntraining: {packing: true}\n", "packing is for causal-lm"),
        ("data: a.csv\ntraining: {image_size: 64}\n", "image_size is for images"),
        ("task: causal-lm\ndata: a.csv\ntraining: {metric: accuracy}\n", "accuracy is no metric of causal-lm"),
        ("data: a.csv\ntraining: {metric: perplexity}\n", "perplexity is no metric of text-classification"),
        ("data: a.csv\ntarget: {metric: perplexity, value: 2}\n", "perplexity is no metric of text-classification"),
        ("data: a.csv\ntarget: {metric: accuracy, value: 2}\n", "its target lies between 0 and 1, not at 2"),
    ],
)
def test_what_a_task_does_not_use_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _parse(text)
    assert message in caught.value.message
