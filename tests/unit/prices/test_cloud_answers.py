"""What clouds answered is kept with its date, by account; damaged files count as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.prices.ask_in_time import ask_in_time
from manager.prices.cloud_answers import CloudAnswers, account_mark


def test_answers_are_fresh_for_a_while_and_known_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "clouds" / "aws.json"
    CloudAnswers(file, account="me").keep({"us-east-1": [1, 2]}, as_of_s=100.0)
    answers = CloudAnswers(file, account="me")
    kept = answers.fresh("us-east-1", now_s=150.0, max_age_s=60)
    assert kept is not None
    assert (kept.as_of_s, kept.value) == (100.0, [1, 2])
    assert answers.fresh("us-east-1", now_s=161.0, max_age_s=60) is None
    assert answers.fresh("us-east-1", now_s=99.0, max_age_s=60) is None
    assert answers.last("us-east-1") == kept
    assert answers.last("us-west-2") is None


def test_new_answers_leave_those_of_other_places(tmp_path: Path) -> None:
    file = tmp_path / "aws.json"
    CloudAnswers(file, account="me").keep({"a": 1, "b": 2}, as_of_s=1.0)
    CloudAnswers(file, account="me").keep({"b": 3}, as_of_s=2.0)
    answers = CloudAnswers(file, account="me")
    assert [(kept.as_of_s, kept.value) for kept in map(answers.last, "ab") if kept] == [(1.0, 1), (2.0, 3)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["aws.json"]


def test_another_account_sees_nothing(tmp_path: Path) -> None:
    file = tmp_path / "aws.json"
    CloudAnswers(file, account=account_mark("work", "id")).keep({"a": 1}, as_of_s=1.0)
    assert CloudAnswers(file, account=account_mark("home", "id")).last("a") is None
    assert "work" not in file.read_text()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "account": "me", "answers": {"a": 1}}']
)
def test_a_damaged_file_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "aws.json"
    file.write_text(content)
    assert CloudAnswers(file, account="me").last("a") is None


def test_a_folder_that_cannot_be_written_forgets(tmp_path: Path) -> None:
    (tmp_path / "clouds").write_text("a file")
    answers = CloudAnswers(tmp_path / "clouds" / "aws.json", account="me")
    answers.keep({"a": 1}, as_of_s=1.0)
    assert answers.last("a") is not None
    assert CloudAnswers(tmp_path / "clouds" / "aws.json", account="me").last("a") is None


def test_no_job_is_no_answer() -> None:
    assert ask_in_time({}, limit_s=1.0, explain=str) == {}


def test_values_and_errors_stay_with_their_names() -> None:
    def broken() -> int:
        raise ValueError("odd")

    answers = ask_in_time({"b": lambda: 2, "a": broken}, limit_s=10.0, explain=lambda error: f"said {error}")
    assert [(name, answer.value, answer.reason) for name, answer in answers.items()] == [
        ("b", 2, None),
        ("a", None, "said odd"),
    ]
