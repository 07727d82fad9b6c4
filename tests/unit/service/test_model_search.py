"""Models by words: the table, the hub's cache, folders of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.service.model_search import CACHE, CATALOG, FOLDER, search_models

BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100}


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def write_model(folder: Path) -> Path:
    """A folder that is a model as far as its config tells."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**BERT, "max_position_embeddings": 64}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"0" * 10)
    return folder


def test_words_in_any_order_find_a_model_of_the_table() -> None:
    hits = search_models("uncased bert large")
    assert "google-bert/bert-large-uncased" in [hit.name for hit in hits]
    assert all("large" in hit.name and "uncased" in hit.name for hit in hits)
    assert {hit.source for hit in hits} == {CATALOG}
    assert hits[0].parameters is not None


def test_a_published_name_comes_first() -> None:
    assert search_models("mistral 7b")[0].name == "mistralai/Mistral-7B-v0.1"


def test_only_models_for_the_task() -> None:
    hits = search_models("", task="image-classification", limit=500)
    assert hits
    assert all("image-classification" in hit.tasks for hit in hits)
    assert "google-bert/bert-base-uncased" not in {hit.name for hit in hits}


def test_folders_are_found_below_and_come_first(tmp_path: Path) -> None:
    mine = write_model(tmp_path / "work" / "models" / "my-bert")
    (tmp_path / "work" / "not-a-model").mkdir()
    (tmp_path / "work" / "not-a-model" / "config.json").write_text("[]", encoding="utf-8")
    write_model(tmp_path / "work" / ".hidden" / "my-bert")
    hits = search_models("my-bert", folders=(tmp_path / "work",))
    assert [(hit.name, hit.source, hit.weights_bytes, hit.parameters) for hit in hits] == [
        (str(mine), FOLDER, 10, None)
    ]
    assert "text-classification" in hits[0].tasks


def test_the_hubs_cache_is_searched(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--org--rarely-named"
    write_model(repository / "snapshots" / "abc")
    (hit,) = search_models("rarely named")
    assert (hit.name, hit.source) == ("org/rarely-named", CACHE)


def test_no_more_than_asked_for_and_nothing_for_nonsense() -> None:
    assert len(search_models("", limit=5)) == 5
    assert search_models("no-such-model-anywhere") == ()
