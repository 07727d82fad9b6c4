"""Counting data of other tasks than text classification with the standard library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.profiling import counting_media
from manager.profiling.counting import count_local
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from tasks.job import DataChoice, ModelChoice, TrainingChoice
from tests.support.media_samples import write_idx, write_png, write_wav


def _count(task: str, source: Path, *, max_length: int = 64, batch_size: int = 32, **data: Any) -> DataStats:
    choice = DataChoice(source=str(source), **data)
    training = TrainingChoice(max_length=max_length, batch_size=batch_size)
    return count_local(RunSpec(name="x", task=task, model=ModelChoice(source="m"), data=choice, training=training))


def _jsonl(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_prompts_and_completions(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 40, "completion": "y" * 20}] * 10
    stats = _count("causal-lm", _jsonl(tmp_path / "d.jsonl", rows))
    assert (stats.train_samples, stats.mean_tokens, stats.longest_tokens, stats.labels) == (8, 17.0, 17, ())
    # Five, and the end.
    assert stats.mean_target_tokens == 6.0
    # Three samples of 17 tokens in 64: ten samples in four sequences, of which four fifths train.
    assert stats.packed_sequences == 4
    assert stats.packed_fill == pytest.approx(170 / 256)
    assert stats.training_sequences(is_packed=True) == 4
    assert stats.training_sequences(is_packed=False) == 8


def test_answers_of_a_letter_count(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 37, "completion": "b"}] * 10
    stats = _count("causal-lm", _jsonl(tmp_path / "d.jsonl", rows))
    # A letter may be a token, and the end is learnt as well.
    assert (stats.train_samples, stats.mean_tokens, stats.mean_target_tokens) == (8, 13.0, 2.0)
    with pytest.raises(DataError, match="no samples"):
        _count("causal-lm", _jsonl(tmp_path / "cut.jsonl", rows), max_length=11)


@pytest.mark.parametrize("cell", [5, [], "no JSON", [{"role": "user"}], {"role": "user", "content": "x"}])
def test_what_is_no_conversation_is_refused(tmp_path: Path, cell: Any) -> None:
    with pytest.raises(DataError, match=r"row 1 of .* cannot be read as a conversation"):
        _count("causal-lm", _jsonl(tmp_path / "d.jsonl", [{"messages": cell}]))


def test_evaluated_splits_count_for_the_longest(tmp_path: Path) -> None:
    for name, length in (("train", 40), ("validation", 80), ("unused", 160)):
        _jsonl(tmp_path / f"{name}.jsonl", [{"text": "x" * length}] * 10)
    stats = _count("causal-lm", tmp_path, validation="validation", test=0.1)
    assert (stats.mean_tokens, stats.longest_tokens) == (12.0, 22)


def test_padding_is_counted_in_batches_of_neighbours(tmp_path: Path) -> None:
    for at in range(10):
        write_wav(tmp_path / "set" / "ab"[at % 2] / f"{at}.wav", 0.5 + 0.1 * at)
    stats = _count("audio-classification", tmp_path / "set", batch_size=4)
    # Longest first, ten recordings from 1.4 s down: fours padded to 1.4, 1.0 and 0.6 s, pairs to 1.4, 1.2 ... 0.6 s.
    whole, pairs = (4 * 1.4 + 4 * 1.0 + 2 * 0.6) / 10, (1.4 + 1.2 + 1.0 + 0.8 + 0.6) * 2 / 10
    assert [part.samples for part in stats.padded_means] == [1, 2, 4]
    seconds = [part.tokens / 16_000 for part in stats.padded_means]
    assert seconds == pytest.approx([0.95, pairs, whole])
    assert stats.padded_mean_tokens == stats.padded_means[-1].tokens
    assert stats.measured


def test_conversations_and_plain_text(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "x" * 20}, {"role": "assistant", "content": "y" * 20}]
    assert _count("causal-lm", _jsonl(tmp_path / "c.jsonl", [{"messages": messages}] * 10)).mean_tokens == 12.0
    assert _count("causal-lm", _jsonl(tmp_path / "t.jsonl", [{"text": "x" * 40}] * 10)).mean_tokens == 12.0


def test_source_and_target(tmp_path: Path) -> None:
    stats = _count("seq2seq-lm", _jsonl(tmp_path / "d.jsonl", [{"source": "x" * 40, "target": "y" * 8}] * 10))
    assert (stats.mean_tokens, stats.mean_target_tokens, stats.longest_target_tokens) == (12.0, 4.0, 4)
    assert stats.packed_sequences is None


def test_the_longest_target_may_be_one_that_is_only_evaluated(tmp_path: Path) -> None:
    for name, length in (("train", 8), ("validation", 80), ("unused", 160)):
        _jsonl(tmp_path / f"{name}.jsonl", [{"source": "x" * 40, "target": "y" * length}] * 10)
    stats = _count("seq2seq-lm", tmp_path, validation="validation", test=0.1)
    assert (stats.mean_target_tokens, stats.longest_target_tokens) == (4.0, 22)


def test_images_of_folders_and_arrays(tmp_path: Path) -> None:
    for at in range(10):
        write_png(tmp_path / "set" / "ab"[at % 2] / f"{at}.png", 10, 20)
    stats = _count("image-classification", tmp_path / "set")
    assert (stats.kind, stats.train_samples, stats.labels) == ("images", 8, ("a", "b"))
    assert (stats.mean_width, stats.largest_height, stats.mean_tokens, stats.padding_share) == (10.0, 20, 1.0, 0.0)
    write_idx(tmp_path / "idx", "train", [bytes(16)] * 20, [at % 2 for at in range(20)], edge=4)
    write_idx(tmp_path / "idx", "t10k", [bytes(16)] * 6, [at % 2 for at in range(6)], edge=4)
    stats = _count("image-classification", tmp_path / "idx", test="test")
    assert (stats.train_samples, stats.validation_samples, stats.test_samples) == (18, 2, 6)
    assert (stats.labels, stats.mean_width) == (("0", "1"), 4.0)


def test_recordings_of_folders_and_tables(tmp_path: Path) -> None:
    rows = ["path,transcript"]
    for at in range(10):
        write_wav(tmp_path / "set" / "ab"[at % 2] / f"{at}.wav", 0.5)
        rows.append(f"{'ab'[at % 2]}/{at}.wav,hello you")
    stats = _count("audio-classification", tmp_path / "set")
    assert (stats.kind, stats.mean_seconds, stats.sampling_rate_hz) == ("audio", 0.5, 8000)
    assert (stats.mean_tokens, stats.longest_tokens) == (8000.0, 8000)
    (tmp_path / "set" / "m.csv").write_text("\n".join(rows) + "\n")
    spelt = _count("speech-ctc", tmp_path / "set" / "m.csv")
    assert (spelt.mean_tokens, spelt.mean_target_tokens, spelt.measured) == (8000.0, 9.0, True)
    written = _count("speech-seq2seq", tmp_path / "set" / "m.csv")
    assert (written.mean_tokens, written.mean_seconds, written.measured) == (3.0, 0.5, False)


def test_images_with_texts_of_a_table(tmp_path: Path) -> None:
    rows = ["image,text,transcript"]
    for at in range(10):
        write_png(tmp_path / f"{at}.png", 10, 20)
        rows.append(f"{at}.png,{'x' * 40 if at else 'x' * 400},short")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    stats = _count("image-text-to-text", tmp_path / "m.csv")
    assert (stats.kind, stats.train_samples, stats.labels, stats.mean_width) == ("images", 8, (), 10.0)
    # Ten and two for start and end; the long one is cut at 64.
    assert stats.mean_tokens == pytest.approx((9 * 12 + 64) / 10)
    assert (stats.longest_tokens, stats.truncated_share, stats.measured) == (64, 0.1, False)


def test_many_files_are_sampled_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting_media, "MOST_SAMPLES", 4)
    for at in range(10):
        write_png(tmp_path / "set" / "ab"[at % 2] / f"{at}.png", 10, 20)
    assert "a seeded sample of 4 of 10" in _count("image-classification", tmp_path / "set").basis


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [
        ("image-classification", "flat", "no layout of"),
        ("speech-ctc", "sound", "no layout of"),
        ("image-text-to-text", "torn", "no layout of"),
        ("image-classification", "d.parquet", "cannot be read without"),
        ("image-classification", "torn", "cannot be read: no PNG"),
        ("audio-classification", "t.csv", "has no column 'label'"),
        ("causal-lm", "rows.jsonl", "has no column 'text'"),
    ],
)
def test_what_cannot_be_counted_says_why(task: str, name: str, message: str, tmp_path: Path) -> None:
    write_png(tmp_path / "flat" / "a.png", 4, 4)
    for label in ("a", "b"):
        write_wav(tmp_path / "sound" / label / "x.wav", 0.1)
        (tmp_path / "torn" / label).mkdir(parents=True)
        (tmp_path / "torn" / label / "x.png").write_bytes(b"nothing")
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    (tmp_path / "t.csv").write_text("path,class\na.wav,b\n")
    (tmp_path / "rows.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(DataError, match=message) as caught:
        _count(task, tmp_path / name)
    assert caught.value.hint is not None


def test_a_column_that_is_named_is_not_passed_over(tmp_path: Path) -> None:
    file = _jsonl(tmp_path / "d.jsonl", [{"messages": [{"role": "assistant", "content": "x" * 40}]}] * 10)
    assert _count("causal-lm", file).train_samples == 8
    with pytest.raises(DataError, match="has no column 'body'") as caught:
        _count("causal-lm", file, text="body")
    assert "messages" in (caught.value.hint or "")
