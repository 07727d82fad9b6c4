"""A handful of rows of the table of models against the modules that transformers builds (all: tests/bench)."""

import csv
import json
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning"),
]

HANDFUL = (
    "google-bert/bert-base-uncased",
    "FacebookAI/roberta-base",
    "EleutherAI/pythia-70m",
    "HuggingFaceTB/SmolLM2-135M",
    "google/flan-t5-small",
    "facebook/bart-base",
    "google/vit-base-patch16-224",
    "microsoft/resnet-18",
    "facebook/wav2vec2-base",
    "openai/whisper-tiny",
    "openai/clip-vit-base-patch32",
)


def _published() -> dict[str, dict[str, str]]:
    text = Path(__file__).with_name("published_parameters.csv").read_text(encoding="utf-8")
    return {row["id"]: row for row in csv.DictReader(text.splitlines())}


def _models() -> dict[str, dict[str, str]]:
    text = files("manager.catalog").joinpath("data", "models.csv").read_text(encoding="utf-8")
    return {row["id"]: row for row in csv.DictReader(text.splitlines())}


@pytest.mark.parametrize("model", HANDFUL)
def test_row_is_what_transformers_builds(model: str) -> None:
    from tests.support.meta_models import backbone_parameters, published_count

    row = _models()[model]
    config = json.loads(row["config"])
    assert backbone_parameters(config, tuple(row["tasks"].split(";"))) == int(row["parameters"])
    published = _published()[model]
    assert published_count(config, published["counted"]) == int(published["parameters"])


def test_published_totals_are_of_known_models_and_most_have_one() -> None:
    published, models = _published(), _models()
    assert set(published) <= set(models)
    assert len(published) > 0.8 * len(models)
    for name, row in published.items():
        assert int(row["parameters"]) >= 0.95 * int(models[name]["parameters"])
