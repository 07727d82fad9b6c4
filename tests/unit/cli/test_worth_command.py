"""`tunefare worth` as it is typed: exit codes, streams, what is refused and with which hint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.cli.main import main
from tests.support.cli import write_news, write_run_file

POINTS = ("--baseline", "0.81", "--target", "0.90", "--usd-per-point", "200")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run file that is planned from shipped traces."""
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)
    return write_run_file(
        tmp_path,
        model="google-bert/bert-base-uncased",
        data=write_news(tmp_path, rows=60),
        training={"precision": "bf16-mixed"},
        where={"clouds": ["aws"]},
    )


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["tunefare", "worth", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return int(ended.value.code)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What went to standard output, as JSON; nothing else went anywhere."""
    said = capsys.readouterr()
    assert said.err == ""
    record: dict[str, Any] = json.loads(said.out)
    return record


def test_the_recommendation_comes_first_and_the_next_step_last(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, file, *POINTS) == 0
    said = capsys.readouterr()
    assert said.out.startswith("tune: even in the worst case it brings $1,7")
    assert "break-even: " in said.out
    assert said.err.splitlines()[-1].startswith("next: tunefare run --plan ")


def test_not_to_tune_is_an_answer_and_no_error(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--replaces-usd-per-month", "100", "--serving-usd-per-month", "150", "--json")
    assert run(monkeypatch, file, *arguments) == 0
    record = told(capsys)
    assert record["recommendation"]["verdict"] == "do not tune"
    assert record["recommendation"]["plan_id"] is None
    assert record["asked"]["net_usd"]["high"] < -600


def test_the_lines_of_the_answer_add_up_to_the_cent(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--once-usd", "1234.56", "--again-every-months", "3", "--months", "10", "--runs", "1,2.5,7")
    assert run(monkeypatch, file, *POINTS, *more, "--json") == 0
    asked = told(capsys)["asked"]
    assert [line["name"] for line in asked["lines"]] == [
        "first tuning",
        "tuned again",
        "labelling and people",
        "points of f1_macro",
    ]
    assert asked["lines"][1]["quantity"]["expected"] == 3
    for end in ("low", "expected", "high"):
        assert round(sum(line["total_usd"][end] for line in asked["lines"]), 2) == round(asked["net_usd"][end], 2)


def test_unknown_serving_is_asked_for_and_never_free(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, file, "--replaces-usd-per-month", "900", "--json") == 0
    record = told(capsys)
    assert record["recommendation"]["verdict"] == "not enough known"
    assert "--serving-usd-per-month" in record["recommendation"]["reason"]
    assert record["asked"]["net_usd"] is None
    assert 890 < record["asked"]["break_even"]["most_serving_usd_per_month"] < 900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "what the tuning is worth is not said"),
        (("--usd-per-point", "-5"), "--usd-per-point -5 is no amount in dollars"),
        (("--usd-per-point", "nan"), "--usd-per-point NaN is no amount in dollars"),
        (("--usd-per-point", "much"), "--usd-per-point 'much' is not a number"),
        (("--usd-per-point", "5", "--target", "1.2"), "--target 1.2 is no f1_macro"),
        (("--usd-per-point", "5", "--baseline", "81"), "--baseline 81 is no f1_macro"),
        (("--usd-per-point", "5", "--baseline", "0.9", "--target", "0.8"), "there is nothing to gain"),
        (("--usd-per-point", "5", "--metric", "bleu"), "there is no metric 'bleu' of text-classification"),
        (("--usd-per-point", "5", "--gain-points", "1,2"), "--gain-points '1,2' is neither one number nor three"),
        (("--usd-per-point", "5", "--gain-points", "9,2,1"), "--gain-points 9,2,1 is no gain"),
        (("--usd-per-point", "5", "--runs", "0"), "--runs 0,0,0 is no number of runs"),
        (("--usd-per-point", "5", "--months", "0"), "--months 0 is no number of months"),
        (("--usd-per-point", "5", "--again-every-months", "-1"), "--again-every-months -1 is no number of months"),
        (("--replaces-usd-per-month", "inf"), "--replaces-usd-per-month Infinity is no amount in dollars"),
        (("--serving-usd-per-month", "5", "--usd-per-point", "1"), "what is paid today, which is not said"),
    ],
)
def test_wrong_input_ends_with_2_and_a_hint(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, file, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    first, hint = said.err.splitlines()
    assert first.startswith("tunefare: error: ")
    assert message in first
    assert hint.startswith("hint: ")


def test_a_perplexity_in_the_run_file_is_no_target_of_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"text number {number} of some words" for number in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["text", *texts]) + "\n")
    file = write_run_file(
        tmp_path,
        model="openai-community/gpt2",
        data=tmp_path / "texts.csv",
        task="causal-lm",
        training={"precision": "bf16-mixed", "metric": "perplexity"},
        target={"metric": "perplexity", "value": 12.0},
        where={"clouds": ["aws"]},
    )
    assert run(monkeypatch, file, "--usd-per-point", "5") == 2
    assert "hint: --metric token_accuracy" in capsys.readouterr().err
    arguments = ("--replaces-usd-per-month", "90", "--serving-usd-per-month", "10", "--json")
    assert run(monkeypatch, file, *arguments) == 0
    assert told(capsys)["question"]["target"] is None
