"""Where shapes come from: table, folder, cache; and what is said when there is none."""

import csv
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from manager.catalog.model_table import known_models
from manager.catalog.models import resolve_entry
from manager.errors import DataError
from tasks.step_trace import TASKS

BERT: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


def _folder(path: Path, config: dict[str, Any]) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def _table() -> list[dict[str, str]]:
    text = files("manager.catalog").joinpath("data", "models.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("row", _table(), ids=lambda row: str(row["id"]))
def test_table_rows_are_dated_sourced_and_have_a_task(row: dict[str, str]) -> None:
    assert row["as_of"] >= "2026-01-01"
    assert row["id"] in row["source"] or row["id"].startswith("config:")
    assert int(row["parameters"]) > 1e6
    tasks = row["tasks"].split(";")
    assert set(tasks) <= set(TASKS)
    assert len(set(tasks)) == len(tasks)
    assert json.loads(row["config"])["model_type"]


def test_table_has_no_id_twice() -> None:
    ids = [name for row in _table() for name in (row["id"], row["legacy_id"]) if name]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("google-bert/bert-base-uncased", 109_482_240),
        ("openai-community/gpt2", 124_439_808),
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("google/gemma-3-1b-pt", 999_885_952),
    ],
)
def test_counts_equal_the_published_totals(model: str, published: int) -> None:
    assert resolve_entry(model).parameters == published


def test_untied_head_is_not_part_of_the_backbone() -> None:
    entry = resolve_entry("meta-llama/Llama-3.1-8B")
    assert entry.config["tie_word_embeddings"] is False
    assert (entry.parameters or 0) + entry.config["vocab_size"] * entry.config["hidden_size"] == 8_030_261_248


def test_id_from_before_organizations_is_known_but_not_listed() -> None:
    assert resolve_entry("gpt2").parameters == resolve_entry("openai-community/gpt2").parameters
    assert "gpt2" not in known_models()


def test_folder_gives_config_and_size_of_its_weights(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "tiny", BERT)
    (folder / "model-1.safetensors").write_bytes(b"x" * 100)
    (folder / "model-2.safetensors").write_bytes(b"x" * 23)
    entry = resolve_entry(str(folder))
    assert (entry.name, entry.config["num_hidden_layers"], entry.weights_bytes) == (f"{tmp_path.name}/tiny", 2, 123)
    assert entry.is_folder


def test_folder_without_weights_has_unknown_size(tmp_path: Path) -> None:
    assert resolve_entry(str(_folder(tmp_path / "tiny", BERT))).weights_bytes is None


def test_existing_folder_wins_over_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _folder(tmp_path / "gpt2", BERT)
    monkeypatch.chdir(tmp_path)
    assert resolve_entry("gpt2").model_type == "bert"


def test_misspelt_folder_names_the_nearest(tmp_path: Path) -> None:
    _folder(tmp_path / "my-minilm", BERT)
    with pytest.raises(DataError, match="my-minlim") as caught:
        resolve_entry(str(tmp_path / "my-minlim"))
    assert caught.value.hint == f"did you mean '{tmp_path / 'my-minilm'}'?"


def test_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config\.json"):
        resolve_entry(str(tmp_path))


def test_config_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        resolve_entry(str(tmp_path))


def test_cached_snapshot_of_main(empty_cache: Path) -> None:
    repository = empty_cache / "models--some--model"
    _folder(repository / "snapshots" / "abc", BERT)
    _folder(repository / "snapshots" / "def", {**BERT, "num_hidden_layers": 3})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("def", encoding="utf-8")
    assert resolve_entry("some/model").config["num_hidden_layers"] == 3
    assert resolve_entry("some/model", "abc").config["num_hidden_layers"] == 2
    assert resolve_entry("some/model").source == "Hugging Face cache, revision def"


def test_other_revision_is_not_answered_from_the_table(empty_cache: Path) -> None:
    with pytest.raises(DataError, match="at revision 'v2'"):
        resolve_entry("openai-community/gpt2", "v2")


def test_unknown_id_suggests_a_known_one(empty_cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        resolve_entry("Qwen/Qwen2.5-0.5")
    assert caught.value.hint is not None
    assert "did you mean 'Qwen/Qwen2.5-0.5B'" in caught.value.hint


def test_positions_behind_the_padding_index_are_not_counted() -> None:
    assert resolve_entry("FacebookAI/roberta-base").max_positions == 512
    assert resolve_entry("google-bert/bert-base-uncased").max_positions == 512


@pytest.mark.parametrize("source", ["~nobody-of-this-name/x", "a" * 300, "/" + "b" * 300, "org/\0name", "./\0"])
def test_a_name_that_no_file_can_have_is_the_users_error(source: str, empty_cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        resolve_entry(source)
    assert caught.value.hint is not None
    assert len(str(caught.value)) < 200
