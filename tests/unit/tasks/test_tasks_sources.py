"""Hub and paths, with stubbed clients: what is downloaded, how a miss is told; buckets are tested with the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.failures import TaskError
from tasks.sources import local_data, local_model, public_name


def test_data_staged_in_a_bucket_is_not_published_with_the_buckets_name() -> None:
    folder = f"s3://secret-bucket/team/data/{'ab' * 32}"
    assert public_name(f"{folder}/data.csv") == "data.csv"
    assert public_name(folder) == "data abababababab"
    assert public_name("s3://open-bucket/news.csv") == "s3://open-bucket/news.csv"


def test_the_hub_gives_data_files_of_the_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert local_data("owner/reviews", "v2") == tmp_path
    assert (asked["source"], asked["revision"], asked["repo_type"]) == ("owner/reviews", "v2", "dataset")
    assert "*.parquet" in asked["allow_patterns"]
    assert not any(pattern.endswith("py") for pattern in asked["allow_patterns"])


def test_pickled_weights_of_a_hub_model_are_not_asked_for(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(source: str, **options: Any) -> str:
        asked.update(options)
        return str(tiny_model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert local_model("owner/model", None) == tiny_model
    assert asked["allow_patterns"] == ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def test_a_hub_miss_fails_at_once_without_network() -> None:
    with pytest.raises(TaskError) as caught:
        local_data("owner/no-such-set", None)
    assert caught.value.code == "data_not_found"
    assert "hub cannot be reached" in caught.value.message


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(TaskError) as caught:
        local_data(str(tmp_path / "trian.csv"), None)
    assert caught.value.hint is not None
    assert "Did you mean 'train.csv'?" in caught.value.hint
