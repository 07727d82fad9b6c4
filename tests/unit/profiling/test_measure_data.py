"""Choice among worker, cache and count; the worker is replaced where its libraries are not the subject."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.profiling import measure, worker
from manager.profiling.cache import load_answer, measurement_key, store_answer
from manager.profiling.measure import measure_data
from manager.profiling.tokenizer import tokenizer_folder
from manager.spec.model import RunSpec
from tasks.job import DataChoice, ModelChoice

_ANSWER: dict[str, Any] = {
    "schema": 2,
    "train_samples": 8,
    "validation_samples": 1,
    "test_samples": 1,
    "labels": ["a", "b"],
    "label_counts": {"a": 4, "b": 4},
    "mean_tokens": 12.5,
    "longest_tokens": 20,
    "padded_mean_tokens": 13.0,
    "padded_means": [{"samples": 1, "tokens": 12.5}, {"samples": 2, "tokens": 13.0}],
    "truncated_share": 0.0,
    "bytes": 123,
    "sha256": "ab",
    "basis": "all 8 training samples tokenized",
    "measured": True,
    "warnings": [{"code": "duplicates", "message": "2 samples are there twice."}],
}


class _Worker:
    """Stands in for the subprocess; counts its calls."""

    def __init__(self, *, stdout: str = json.dumps(_ANSWER), stderr: str = "", status: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self._done = subprocess.CompletedProcess([], status, stdout, stderr)

    def __call__(self, command: list[str], *, input: str, **_: object) -> subprocess.CompletedProcess[str]:  # noqa: A002
        assert command == [sys.executable, "-P", "-m", "tasks.measure"]
        self.requests.append(json.loads(input))
        return self._done


def _spec(folder: Path, *, data: str | None = None, model: str = "org/model") -> RunSpec:
    file = folder / "data.csv"
    if not file.exists():
        file.write_text("text,label\none,a\ntwo,b\n", encoding="utf-8")
    return RunSpec(
        name="x",
        task="text-classification",
        model=ModelChoice(source=model),
        data=DataChoice(source=data or str(file)),
    )


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> _Worker:
    """A worker that answers, with its libraries taken for installed."""
    stand_in = _Worker()
    monkeypatch.setattr("manager.profiling.task_process.subprocess.run", stand_in)
    monkeypatch.setattr(measure, "worker_can_run", lambda: True)
    return stand_in


def _replace_worker(monkeypatch: pytest.MonkeyPatch, stand_in: object) -> None:
    monkeypatch.setattr("manager.profiling.task_process.subprocess.run", stand_in)
    monkeypatch.setattr(measure, "worker_can_run", lambda: True)


def test_the_answer_becomes_stats_and_its_warnings_are_told(tmp_path: Path, answering: _Worker) -> None:
    stats = measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)
    assert (stats.train_samples, stats.labels, stats.measured) == (8, ("a", "b"), True)
    assert stats.basis == "all 8 training samples tokenized; 2 samples are there twice"
    assert answering.requests[0]["model"] is None


def test_a_second_call_is_answered_from_the_cache_until_the_data_changes(tmp_path: Path, answering: _Worker) -> None:
    spec, cache = _spec(tmp_path), tmp_path / "cache"
    first = measure_data(spec, cache_dir=cache, timeout_s=5)
    assert measure_data(spec, cache_dir=cache, timeout_s=5) == first
    assert len(answering.requests) == 1
    (tmp_path / "data.csv").write_text("text,label\nother,a\n", encoding="utf-8")
    measure_data(spec, cache_dir=cache, timeout_s=5)
    measure_data(replace(spec, training=replace(spec.training, max_length=64)), cache_dir=cache, timeout_s=5)
    assert len(answering.requests) == 3
    assert not list(cache.glob(".measure-*"))


def test_a_torn_cache_file_is_measured_again(tmp_path: Path, answering: _Worker) -> None:
    cache = tmp_path / "cache"
    measure_data(_spec(tmp_path), cache_dir=cache, timeout_s=5)
    next(cache.glob("measure-*.json")).write_text('{"schema": 2, "tr', encoding="utf-8")
    measure_data(_spec(tmp_path), cache_dir=cache, timeout_s=5)
    assert len(answering.requests) == 2


def test_a_cache_that_cannot_be_written_does_not_fail_the_plan(tmp_path: Path, answering: _Worker) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    assert measure_data(_spec(tmp_path), cache_dir=blocked / "cache", timeout_s=5).train_samples == 8
    assert len(answering.requests) == 1


def test_a_model_folder_is_handed_to_the_worker(tmp_path: Path, answering: _Worker) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    spec = _spec(tmp_path, model=str(folder))
    measure_data(spec, cache_dir=tmp_path / "cache", timeout_s=5)
    assert answering.requests[0]["model"] == {"source": str(folder), "revision": None}
    (folder / "tokenizer.json").write_text('{"other": 1}', encoding="utf-8")
    measure_data(spec, cache_dir=tmp_path / "cache", timeout_s=5)
    assert len(answering.requests) == 2


def test_a_tokenizer_is_found_in_the_cache_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text("abc", encoding="utf-8")
    (snapshot / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert tokenizer_folder("org/model", None) is None
    (snapshot / "model.safetensors").write_bytes(b"")
    assert tokenizer_folder("org/model", None) == snapshot
    assert tokenizer_folder("org/model", "abc") == snapshot
    assert tokenizer_folder("org/other", None) is None


def test_the_workers_error_keeps_its_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = {"error": {"code": "data_invalid", "message": "There is no column 'text'.", "hint": "columns: body"}}
    _replace_worker(monkeypatch, _Worker(stdout=json.dumps(failure), status=2))
    with pytest.raises(DataError, match="no column 'text'") as caught:
        measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)
    assert caught.value.hint == "columns: body"
    assert not (tmp_path / "cache").exists()


def test_a_worker_that_dies_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_worker(monkeypatch, _Worker(stdout="", stderr="Traceback\nMemoryError", status=137))
    with pytest.raises(DataError, match="status 137 and no answer: MemoryError"):
        measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)


def test_a_worker_that_takes_too_long_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def _never(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 5)

    _replace_worker(monkeypatch, _never)
    with pytest.raises(DataError, match="longer than 5 s"):
        measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)


def test_an_incomplete_answer_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_worker(monkeypatch, _Worker(stdout=json.dumps({"schema": 2})))
    with pytest.raises(DataError, match="incomplete"):
        measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)


def test_an_answer_about_remote_data_is_used_for_a_day(tmp_path: Path) -> None:
    request = worker.worker_request(_spec(tmp_path, data="s3://bucket/data.csv"), model_folder=None)
    key = measurement_key(request, model_folder=None)
    assert key.startswith("remote-")
    store_answer(tmp_path, key, _ANSWER)
    assert load_answer(tmp_path, key) == _ANSWER
    file = tmp_path / f"measure-{key}.json"
    day_before = file.stat().st_mtime - 90_000
    os.utime(file, (day_before, day_before))
    assert load_answer(tmp_path, key) is None


def test_without_libraries_local_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "worker_can_run", lambda: False)
    stats = measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=5)
    assert stats.measured is False
    assert stats.sha256 is None


@pytest.mark.torch
def test_the_real_worker_tokenizes_a_small_file(tmp_path: Path) -> None:
    rows = "\n".join(f"a short sentence about number {number},{'ab'[number % 2]}" for number in range(40))
    (tmp_path / "data.csv").write_text(f"text,label\n{rows}\n", encoding="utf-8")
    stats = measure_data(_spec(tmp_path), cache_dir=tmp_path / "cache", timeout_s=60)
    assert stats.train_samples + stats.validation_samples + stats.test_samples == 40
    assert stats.measured is False
    assert len(list((tmp_path / "cache").glob("measure-local-*.json"))) == 1


@pytest.mark.parametrize("source", ["a" * 300 + ".csv", "~nobody-of-this-name/data.csv"])
def test_what_is_no_path_is_no_defect(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="the data cannot be looked up"):
        measure_data(_spec(tmp_path, data=source), cache_dir=tmp_path / "cache", timeout_s=5)
