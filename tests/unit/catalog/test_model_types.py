"""The table of model types against the transformers that is installed, and the checks against its own configs."""

import csv
import json
from importlib.resources import files

import pytest

from manager.catalog.config_check import checked_config, max_positions, tasks_of
from manager.catalog.model_types import model_type, model_type_names, type_of_architecture
from tasks.step_trace import TASKS

TEXT = files("manager.catalog").joinpath("data", "model_types.csv").read_text(encoding="utf-8")


def test_tasks_are_the_tracers() -> None:
    for name in model_type_names():
        row = model_type(name)
        assert row is not None
        assert row.tasks
        assert set(row.tasks) <= set(TASKS)


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("bert", ("text-classification", "masked-lm")),
        ("llama", ("causal-lm", "text-classification")),
        ("t5", ("seq2seq-lm", "text-classification")),
        ("vit", ("image-classification",)),
        ("wav2vec2", ("speech-ctc", "audio-classification")),
        ("whisper", ("speech-seq2seq", "audio-classification")),
        ("clip", ("contrastive", "image-classification")),
        ("xlnet", ("text-classification", "causal-lm")),
    ],
)
def test_usual_task_comes_first(name: str, tasks: tuple[str, ...]) -> None:
    row = model_type(name)
    assert row is not None
    assert row.tasks == tasks


def test_class_names_one_type() -> None:
    row = type_of_architecture("LlamaForCausalLM")
    assert row is not None
    assert row.name == "llama"
    assert type_of_architecture("NoSuchForCausalLM") is None


def test_every_shipped_model_is_of_a_known_type_with_its_usual_task() -> None:
    text = files("manager.catalog").joinpath("data", "models.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        known = model_type(json.loads(row["config"])["model_type"])
        assert known is not None
        tasks = row["tasks"].split(";")
        assert set(tasks) <= set(known.tasks)
        assert tasks[0] == known.tasks[0]


@pytest.mark.torch
def test_table_is_what_the_installed_transformers_says() -> None:
    transformers = pytest.importorskip("transformers")
    if f"transformers {transformers.__version__}:" not in TEXT:
        pytest.skip("the table is of another version of transformers")
    from tests.support.model_types import rows

    shipped = _shipped_types()
    assert rows(shipped) == [row for row in csv.DictReader(TEXT.splitlines()) if row["model_type"] in shipped]


@pytest.mark.torch
def test_no_config_that_transformers_writes_is_refused() -> None:
    pytest.importorskip("transformers")
    from tests.support.model_types import default_config

    checked = 0
    for name in sorted(_shipped_types()):
        config = default_config(name)
        if config is not None:
            found = checked_config(config, name)
            assert found["model_type"] == name
            assert tasks_of(found, name)
            assert (max_positions(found) or 1) > 0
            checked += 1
    assert checked > 50


def _shipped_types() -> frozenset[str]:
    text = files("manager.catalog").joinpath("data", "models.csv").read_text(encoding="utf-8")
    return frozenset(json.loads(row["config"])["model_type"] for row in csv.DictReader(text.splitlines()))
