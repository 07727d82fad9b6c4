"""What is measured of each kind of data, and how bad data is refused."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks.measure
import tasks.measuring
from tests.support.media_samples import png, write_idx, write_png, write_wav

Ask = Callable[..., dict[str, Any]]
Write = Callable[[str, list[dict[str, Any]]], Path]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Asks the worker in this process; gives its answer or its error."""

    def measure(task: str, source: Path, *, model: Path | None = None, max_length: int = 16, **data: Any) -> Any:
        request = {
            "task": task,
            "model": None if model is None else {"source": str(model), "revision": None},
            "data": {"source": str(source), **data},
            "max_length": max_length,
            "batch_size": 4,
            "seed": 5,
        }
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
        tasks.measure.main([])
        return json.loads(capsys.readouterr().out)

    return measure


@pytest.mark.torch
def test_prompts_and_completions(ask: Ask, tiny_lm: Path, write_jsonl: Write) -> None:
    # With the end token 6, 8 and 4 tokens, of which 3, 2 and 2 are learnt; each comes ten times in the training split.
    rows = [("word1 word2 word3", "goal goal"), ("word1 " * 6, "goal"), ("word4 word5", "team")]
    train = [{"prompt": f"{prompt}", "completion": completion} for prompt, completion in rows * 10]
    held = [{"prompt": "word9", "completion": "chip"}]
    folder = write_jsonl("set/train.jsonl", train).parent
    write_jsonl("set/validation.jsonl", held)
    write_jsonl("set/test.jsonl", held)
    found = ask("causal-lm", folder, model=tiny_lm, validation="validation", test="test")
    assert found["kind"] == "tokens"
    assert (found["train_samples"], found["validation_samples"], found["test_samples"]) == (30, 1, 1)
    assert found["mean_tokens"] == pytest.approx((6 + 8 + 4) / 3)
    assert found["longest_tokens"] == 8
    assert found["mean_target_tokens"] == pytest.approx((3 + 2 + 2) / 3)
    # 180 tokens in sequences of 16: two of 8; 6 + 6 + 4; four of 4 and the like.
    assert found["packed_sequences"] == 12
    assert found["packed_fill"] == pytest.approx(180 / (12 * 16))
    assert found["measured"] is True
    cut = ask("causal-lm", folder, model=tiny_lm, validation="validation", test="test", max_length=7)
    assert cut["longest_tokens"] == 7
    assert cut["truncated_share"] == pytest.approx(1 / 3)
    dropped = ask("causal-lm", folder, model=tiny_lm, validation="validation", test="test", max_length=6)
    assert dropped["train_samples"] == 20
    assert [warning["code"] for warning in dropped["warnings"]] == ["nothing_to_learn"]


@pytest.mark.torch
def test_conversations_are_written_by_the_chat_template(ask: Ask, tiny_lm: Path, write_jsonl: Write) -> None:
    messages = [{"role": "user", "content": "word1 word2"}, {"role": "assistant", "content": "goal"}]
    file = write_jsonl("chat.jsonl", [{"messages": [*messages, {"role": "user", "content": f"word{at}"}]}
                                      for at in range(30)])  # fmt: skip
    found = ask("causal-lm", file, model=tiny_lm)
    # <user> word1 word2 <bot> goal <user> wordN <end>: the template ends the text, nothing is put behind it.
    assert (found["mean_tokens"], found["longest_tokens"], found["mean_target_tokens"]) == (8.0, 8, 7.0)
    assert found["warnings"] == []


def test_without_a_model_conversations_are_estimated(ask: Ask, write_jsonl: Write) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{at:040d}"}]} for at in range(30)]
    found = ask("causal-lm", write_jsonl("chat.jsonl", rows), max_length=64)
    assert found["measured"] is False
    assert "estimated" in found["basis"]
    assert 11 <= found["mean_tokens"] <= 14


@pytest.mark.torch
def test_source_and_target_texts(ask: Ask, tiny_lm: Path, write_jsonl: Write) -> None:
    rows = [{"source": f"word1 word2 word3 word{at}", "target": "goal goal"} for at in range(30)]
    found = ask("seq2seq-lm", write_jsonl("pairs.jsonl", rows), model=tiny_lm)
    assert (found["mean_tokens"], found["mean_target_tokens"], found["longest_target_tokens"]) == (4.0, 2.0, 2)
    named = [{"de": row["source"], "en": row["target"]} for row in rows]
    again = ask("seq2seq-lm", write_jsonl("named.jsonl", named), model=tiny_lm, source_text="de", target_text="en")
    assert again["mean_tokens"] == 4.0


@pytest.mark.torch
def test_the_longest_target_may_be_one_that_is_only_evaluated(
    ask: Ask, tiny_lm: Path, write_jsonl: Write, tmp_path: Path
) -> None:
    for name, words in (("train", 2), ("validation", 5)):
        rows = [{"source": f"word1 word2 word{at}", "target": "goal " * words} for at in range(30)]
        (tmp_path / "pairs").mkdir(exist_ok=True)
        write_jsonl(f"pairs/{name}.jsonl", rows)
    found = ask("seq2seq-lm", tmp_path / "pairs", model=tiny_lm, validation="validation", test=0.1)
    assert (found["mean_target_tokens"], found["longest_target_tokens"]) == (2.0, 5)


def test_images_of_a_folder_per_class(ask: Ask, tmp_path: Path) -> None:
    for at in range(10):
        write_png(tmp_path / "set" / "cat" / f"{at}.png", 10 + at, 20)
        write_png(tmp_path / "set" / "dog" / f"{at}.png", 10, 40)
    found = ask("image-classification", tmp_path / "set", validation=0.1, test=0.1)
    assert found["kind"] == "images"
    assert found["labels"] == ["cat", "dog"]
    assert (found["train_samples"], found["mean_tokens"], found["padded_mean_tokens"]) == (16, 1.0, 1.0)
    assert (found["largest_height"], found["mean_height"]) == (40, 30.0)
    assert 10 < found["largest_width"] <= 19
    assert found["basis"] == "headers of all 16 training images read"


def test_images_of_idx_and_npz_arrays(ask: Ask, tmp_path: Path) -> None:
    images, labels = [bytes([at] * 36) for at in range(40)], [at % 4 for at in range(40)]
    write_idx(tmp_path / "idx", "train", images, labels, edge=6)
    write_idx(tmp_path / "idx", "t10k", images[:8], labels[:8], edge=6)
    pixels = np.array([list(image) for image in images], dtype=np.uint8).reshape(40, 6, 6)
    np.savez(tmp_path / "a.npz", x_train=pixels, y_train=np.array(labels), x_test=pixels[:8], y_test=labels[:8])
    for source in (tmp_path / "idx", tmp_path / "a.npz"):
        found = ask("image-classification", source, test="test")
        assert (found["train_samples"], found["validation_samples"], found["test_samples"]) == (36, 4, 8)
        assert found["labels"] == ["0", "1", "2", "3"]
        assert (found["mean_width"], found["largest_height"]) == (6.0, 6)


def test_images_in_a_parquet_file(ask: Ask, tmp_path: Path) -> None:
    import pandas as pd

    rows = [{"image": {"bytes": png(8, 9, at), "path": None}, "label": "ab"[at % 2]} for at in range(20)]
    pd.DataFrame(rows).to_parquet(tmp_path / "d.parquet")
    found = ask("image-classification", tmp_path / "d.parquet")
    assert (found["train_samples"], found["mean_width"], found["mean_height"]) == (16, 8.0, 9.0)


def test_recordings_of_a_folder_per_class(ask: Ask, tmp_path: Path) -> None:
    for at in range(10):
        write_wav(tmp_path / "set" / "yes" / f"{at}.wav", 0.5)
        write_wav(tmp_path / "set" / "no" / f"{at}.wav", 1.5 if at == 0 else 0.25)
    found = ask("audio-classification", tmp_path / "set", validation=0.1, test=0.1)
    assert found["kind"] == "audio"
    assert found["labels"] == ["no", "yes"]
    assert found["sampling_rate_hz"] == 8000
    assert found["longest_tokens"] == round(found["longest_seconds"] * 16_000)
    assert found["mean_tokens"] == pytest.approx(found["mean_seconds"] * 16_000)
    assert found["mean_tokens"] < found["padded_mean_tokens"] < found["longest_tokens"]


def test_speech_of_a_table_with_transcripts(ask: Ask, tmp_path: Path) -> None:
    rows = ["file_name,transcript"]
    for at in range(20):
        write_wav(tmp_path / "set" / "clips" / f"{at}.wav", 0.5)
        rows.append(f"clips/{at}.wav,{'go ' * 4}")
    (tmp_path / "set" / "metadata.csv").write_text("\n".join(rows) + "\n")
    spelt = ask("speech-ctc", tmp_path / "set")
    assert (spelt["mean_tokens"], spelt["mean_target_tokens"], spelt["labels"]) == (8000.0, 12.0, [])
    written = ask("speech-seq2seq", tmp_path / "set")
    assert (written["mean_seconds"], written["mean_tokens"], written["measured"]) == (0.5, 5.0, False)


@pytest.mark.torch
def test_images_of_a_table_with_texts(ask: Ask, tiny_lm: Path, tmp_path: Path) -> None:
    rows = ["image,text"]
    for at in range(10):
        write_png(tmp_path / "set" / f"{at}.png", 10, 20)
        rows.append(f"{at}.png,word1 word2 word3")
    (tmp_path / "set" / "m.csv").write_text("\n".join(rows) + "\n")
    found = ask("image-text-to-text", tmp_path / "set", model=tiny_lm)
    assert (found["kind"], found["train_samples"], found["labels"], found["mean_height"]) == ("images", 8, [], 20.0)
    assert (found["mean_tokens"], found["longest_tokens"], found["measured"]) == (3.0, 3, True)
    estimated = ask("image-text-to-text", tmp_path / "set")
    assert (estimated["mean_tokens"], estimated["measured"]) == (7.0, False)
    assert "4 characters a token" in estimated["basis"]


def test_large_sets_are_sampled_with_a_seed(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.measuring, "MOST_SAMPLES", 10)
    images, labels = [bytes([at] * 4) for at in range(40)], [at % 2 for at in range(40)]
    write_idx(tmp_path / "idx", "train", images, labels, edge=2)
    found = ask("image-classification", tmp_path / "idx")
    assert found["basis"] == "headers of a seeded sample of 10 of 32 training images read"


def _bad_sets(folder: Path) -> dict[str, Path]:
    """Data sets that cannot be used."""
    write_png(folder / "flat" / "a.png", 4, 4)
    for label in ("a", "b"):
        for at in range(10):
            (folder / "torn" / label).mkdir(parents=True, exist_ok=True)
            (folder / "torn" / label / f"{at}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
            write_png(folder / "one" / "only" / f"{label}{at}.png", 4, 4)
            write_wav(folder / "sound" / label / f"{at}.wav", 0.1)
    (folder / "gone").mkdir()
    (folder / "gone" / "t.csv").write_text("path,label\n" + "".join(f"{at}.wav,{at % 2}\n" for at in range(20)))
    (folder / "nothing").mkdir()
    (folder / "idx").mkdir()
    (folder / "idx" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0" * 12)
    (folder / "chat.jsonl").write_text('{"messages": [{"role": "user"}]}\n' * 20)
    (folder / "short.jsonl").write_text('{"body": "x"}\n' * 20)
    np.savez(folder / "odd.npz", pictures=np.zeros(3))
    return {file.stem: file for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("task", "name", "code", "message", "hint"),
    [
        ("image-classification", "flat", "data_invalid", "do not lie in one subfolder per label", "<label>/"),
        ("image-classification", "torn", "data_invalid", "cannot be read: the image is torn", ""),
        ("image-classification", "one", "data_invalid", "the same label, 'only'", "labels"),
        ("image-classification", "idx", "data_invalid", "lacks its images or its labels", "train-labels"),
        ("image-classification", "odd", "data_invalid", "it has pictures", "x_train"),
        ("image-classification", "sound", "data_not_found", "holds no image files", ".png"),
        ("audio-classification", "gone", "data_invalid", "20 of 20 audio files do not exist", "from the folder"),
        ("image-classification", "nothing", "data_not_found", "no table of them", "per label"),
        ("speech-seq2seq", "nothing", "data_not_found", "holds no audio files", "columns path and transcript"),
        ("speech-ctc", "sound", "data_invalid", "no table with their transcripts", "metadata.csv"),
        ("causal-lm", "chat", "data_invalid", "Row 1 of the training split", "role"),
        ("causal-lm", "short", "data_invalid", "has no column 'text'", "body"),
        ("seq2seq-lm", "short", "data_invalid", "has no column 'source'", "body"),
        ("dancing", "short", "bad_job", "no task 'dancing'", "causal-lm"),
    ],
)
def test_bad_data_is_named(task: str, name: str, code: str, message: str, hint: str, ask: Ask, tmp_path: Path) -> None:
    error = ask(task, _bad_sets(tmp_path)[name])["error"]
    assert error["code"] == code
    assert message in error["message"]
    assert hint in (error["hint"] or "")


def test_a_column_that_is_named_is_not_passed_over(ask: Ask, write_jsonl: Write) -> None:
    source = write_jsonl("chat.jsonl", [{"messages": [{"role": "user", "content": f"a {at}"}]} for at in range(20)])
    error = ask("causal-lm", source, text="body")["error"]
    assert "has no column 'body'" in error["message"]
    assert "messages" in error["hint"]
