"""A data set to look at: the worker's answer and the count without libraries agree where they can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.errors import DataError, UsageError
from manager.profiling import preview as profiling
from manager.service.data_preview import preview_data, spec_of_data
from tests.support.cli import write_news
from tests.support.contexts import make_context
from tests.support.media_samples import write_png


def write_lines(folder: Path) -> Path:
    """Ten prompts with completions."""
    file = folder / "chat.jsonl"
    rows = [{"prompt": f"question {number}", "completion": "x" * 40 * (number + 1)} for number in range(10)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("has_libraries", [True, False])
def test_rows_lengths_and_labels_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_libraries: bool
) -> None:
    monkeypatch.setattr(profiling, "worker_can_run", lambda: has_libraries)
    spec = spec_of_data(str(write_news(tmp_path)), task="text-classification")
    seen = preview_data(make_context(tmp_path), spec, rows=3)
    assert (seen.train_samples, seen.validation_samples, seen.test_samples) == (192, 24, 24)
    assert seen.columns == ("text", "label")
    assert len(seen.rows) == 3
    assert {label for _, label in seen.rows} <= {"money", "science", "sport"}
    assert seen.labels is not None
    counts = dict(seen.labels)
    assert set(counts) == {"money", "science", "sport"}
    assert sum(counts.values()) == seen.lengths.samples
    assert sum(one.samples for one in seen.lengths.bins) == seen.lengths.samples
    quantiles = [length for _, length in seen.lengths.quantiles]
    assert quantiles == sorted(quantiles)
    assert (seen.lengths.unit, seen.is_measured) == ("tokens", False)
    assert "characters" in seen.basis


@pytest.mark.parametrize("has_libraries", [True, False])
def test_lengths_are_those_before_truncation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_libraries: bool
) -> None:
    monkeypatch.setattr(profiling, "worker_can_run", lambda: has_libraries)
    file = tmp_path / "long.csv"
    lines = [f"{number} {'word ' * (400 if number % 4 == 0 else 4)},{number % 2}" for number in range(40)]
    file.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    seen = preview_data(make_context(tmp_path), spec_of_data(str(file), task="text-classification"))
    assert seen.lengths.quantiles[-1][1] > 256
    assert seen.lengths.max_length == 256
    assert seen.lengths.over_max_length == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("has_libraries", [True, False])
def test_prompts_and_completions_have_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_libraries: bool
) -> None:
    monkeypatch.setattr(profiling, "worker_can_run", lambda: has_libraries)
    seen = preview_data(make_context(tmp_path), spec_of_data(str(write_lines(tmp_path)), task="causal-lm"))
    assert seen.columns == ("prompt", "completion")
    assert seen.labels is None
    assert seen.rows[0][0].startswith("question")


def test_a_second_look_asks_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(tmp_path)
    spec = spec_of_data(str(write_news(tmp_path)), task="text-classification")
    first = preview_data(context, spec)

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("the answer is kept")

    monkeypatch.setattr(profiling, "ask_worker", refuse)
    assert preview_data(context, spec) == first


def test_a_wrong_column_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    spec = spec_of_data(str(write_news(tmp_path)), task="text-classification", columns={"text": "body"})
    with pytest.raises(DataError, match="body") as raised:
        preview_data(make_context(tmp_path), spec)
    assert "text" in str(raised.value.hint)


def test_images_show_names_sizes_and_labels_where_the_libraries_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("cat", "dog"):
        for number in range(10):
            (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "set" / label / f"{number}.png", 20 + number, 10)
    spec = spec_of_data(str(tmp_path / "set"), task="image-classification")
    seen = preview_data(make_context(tmp_path), spec)
    assert seen.columns == ("image", "size", "label")
    assert seen.rows[0][1].endswith("x 10 pixels")
    assert (seen.lengths.unit, seen.lengths.max_length) == ("pixels of the longer edge", None)
    assert seen.is_measured
    monkeypatch.setattr(profiling, "worker_can_run", lambda: False)
    with pytest.raises(DataError, match="without the libraries"):
        preview_data(make_context(tmp_path), spec)


def test_questions_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="no task"):
        spec_of_data("d.csv", task="translation")
    with pytest.raises(UsageError, match="no column"):
        spec_of_data("d.csv", task="causal-lm", columns={"label": "x"})
