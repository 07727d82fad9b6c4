"""The model folder is meant for publishing: nothing in it tells of the machine that trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.job import DataChoice, Job, MethodChoice, ModelChoice
from tasks.model_card import model_card
from tasks.protocol import Event
from tasks.sources import public_name

Run = Callable[[Job, Path], tuple[int, list[Event]]]
FACTS = {"sha256": "0", "train_samples": 1, "validation_samples": 1, "test_samples": 1, "label_counts": {"a": 1}}


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_no_file_holds_a_path_of_this_machine(
    kind: str, job: Job, run_train: Run, tmp_path: Path, tiny_model: Path, small_csv: Path
) -> None:
    short = replace(job.training, max_steps=1)
    job = replace(job, method=MethodChoice(kind=kind, lora_rank=2), training=short)
    run_train(job, tmp_path / "out")
    folder = tmp_path / "out" / "model"
    secrets = [str(part).encode() for part in (tiny_model.parent, small_csv.parent, tmp_path)]
    files = [file for file in folder.rglob("*") if file.is_file()]
    leaks = [str(file.relative_to(folder)) for file in files if any(secret in file.read_bytes() for secret in secrets)]
    assert leaks == []
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["job"]["model"]["source"] == "tiny-bert"
    assert manifest["job"]["data"]["source"] == manifest["data"]["source"] == "small.csv"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "`tiny-bert` tuned for" in card
    assert f"`small.csv` (SHA-256 `{manifest['data']['sha256']}`)" in card


@pytest.mark.torch
def test_the_adapter_names_its_base_model_and_has_no_template_card(job: Job, run_train: Run, tmp_path: Path) -> None:
    lora = replace(job, method=MethodChoice(kind="lora", lora_rank=2), training=replace(job.training, max_steps=1))
    run_train(lora, tmp_path / "out")
    adapter = tmp_path / "out" / "model" / "adapter"
    assert sorted(file.name for file in adapter.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "tiny-bert"


def test_a_relative_folder_is_no_hub_id(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_model, tmp_path / "models" / "minilm")
    monkeypatch.chdir(tmp_path)
    job = Job(run_id="r", model=ModelChoice(source="models/minilm"), data=DataChoice(source="s3://bucket/a.csv"))
    card = model_card(job, FACTS, {}, 1)
    assert "base_model:" not in card
    assert "`minilm` tuned for" in card
    assert "`s3://bucket/a.csv`" in card
    hub = replace(job, model=ModelChoice(source="org/minilm"))
    assert "base_model: org/minilm" in model_card(hub, FACTS, {}, 1)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/srv/sets/news.csv", "news.csv"),
        ("./news/", "news"),
        ("~/m", "m"),
        ("org/name", "org/name"),
        ("gs://b/k", "gs://b/k"),
    ],
)
def test_public_names(source: str, name: str) -> None:
    assert public_name(source) == name
