"""What `init` writes can be read back, comments and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import SpecError
from manager.spec.reader import parse_spec
from manager.spec.starter import example_values, starter_text
from tasks.kinds import TASK_KINDS


def test_the_template_itself_is_a_valid_run_file(tmp_path: Path) -> None:
    spec = parse_spec(starter_text({}), name="f", folder=tmp_path)
    assert spec.name == "my-run"
    assert spec.model.source == str(tmp_path / "model")


def test_choices_are_filled_in_and_comments_stay(tmp_path: Path) -> None:
    text = starter_text({"model.source": "roberta-base", "method.kind": "lora"})
    assert "# full, lora, qlora" in text
    spec = parse_spec(text, name="f", folder=tmp_path)
    assert spec.model.source == "roberta-base"
    assert spec.method.kind == "lora"


def test_a_source_with_yaml_in_it_stays_one_value(tmp_path: Path) -> None:
    text = starter_text({"model.source": "x: {evil: 1} # no comment"})
    assert parse_spec(text, name="f", folder=tmp_path).model.source == "x: {evil: 1} # no comment"


def test_an_unknown_example_is_refused() -> None:
    with pytest.raises(SpecError, match="no example `nope`") as caught:
        example_values("nope")
    assert caught.value.hint == "examples: bbc-news"


@pytest.mark.parametrize("task", list(TASK_KINDS))
def test_each_task_gets_a_file_that_can_be_read(task: str, tmp_path: Path) -> None:
    text = starter_text({"task": task})
    spec = parse_spec(text, name="f", folder=tmp_path)
    assert (spec.task, spec.training.metric) == (task, TASK_KINDS[task].default_metric)
    assert ("\n  label:" in text) == TASK_KINDS[task].has_labels


@pytest.mark.parametrize(
    ("method", "precision"), [("lora", "bf16"), ("qlora", "bf16"), ("full", "fp32"), ("frozen", "fp32")]
)
def test_adapters_get_a_precision_whose_traces_ship(method: str, precision: str, tmp_path: Path) -> None:
    def written(**more: str) -> str:
        text = starter_text({"method.kind": method, **more})
        return parse_spec(text, name="f", folder=tmp_path).training.precision

    assert written() == precision
    assert written(**{"training.precision": "bf16-mixed"}) == "bf16-mixed"
