"""What a user gets for wrong input: a sentence, a hint, the right exit code; nothing lost, nothing left running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path)
    yield commands
    commands.end()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def test_yes_without_a_cap_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("run", "--yes")
    assert done.code == 2
    assert "--yes needs --max-usd" in done.stderr
    assert not (tmp_path / "home" / "ledger.sqlite3").exists()


def test_a_question_nobody_can_answer_is_a_usage_error(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    done = cli.run("run", "--on", "local")
    assert done.code == 2
    assert "--yes --max-usd" in done.stderr


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        ({"trainning": {}}, "unknown key `trainning`", 2),
        ({"schema": 2}, "run file is of schema 2", 2),
        ({"model": "./modell"}, "modell", 2),
        ({"data": {"source": "./news.csv", "label": "klass"}}, "klass", 2),
        ({"data": "./empty.csv"}, "empty", 2),
        ({"data": "./one_class.csv"}, "same label", 2),
        ({"data": "./missing.csv"}, "missing.csv", 2),
        ({"where": {"clouds": ["awss"]}}, "did you mean `aws`?", 2),
        ({"where": {"clouds": ["slurm"]}}, "none of", 3),
        ({"budget": {"max_usd": 0.00000001}}, "cap", 4),
    ],
)
def test_a_wrong_run_file_is_explained(
    cli: Cli, tmp_path: Path, model: Path, change: dict[str, Any], message: str, code: int
) -> None:
    write_news(tmp_path)
    (tmp_path / "model").symlink_to(model)
    (tmp_path / "empty.csv").write_text("text,label\n")
    (tmp_path / "one_class.csv").write_text("text,label\n" + "a word,x\n" * 40)
    write_run_file(tmp_path, **{"model": "./model", "data": "./news.csv", **change})
    done = cli.run("plan")
    assert done.code == code, done.stderr
    assert message in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.json_lines("runs", "--json") == []


def test_labels_that_are_not_in_training(cli: Cli, tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\n" + "good day,a\nbad day,b\n" * 30)
    (folder / "test.csv").write_text("text,label\n" + "good day,a\nodd day,c\n" * 5)
    write_run_file(tmp_path, model=model, data={"source": str(folder), "test": "test"})
    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1")
    assert done.code == 2
    assert "c" in done.stderr


def test_nan_loss_fails_the_run_with_its_reason(cli: Cli, tmp_path: Path) -> None:
    poison = write_tiny_model(tmp_path / "poisoned", not_a_number=True)
    write_run_file(tmp_path, model=poison, data=write_news(tmp_path))
    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1")
    assert done.code == 1, done.stderr
    assert "not finite" in done.stderr.lower()
    assert [run["state"] for run in cli.json_lines("runs", "--json")] == ["failed"]


def test_a_corrupt_ledger_is_not_written_over(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.sqlite3").write_bytes(b"not a database" * 100)
    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1")
    assert done.code == 1
    assert "ledger" in done.stderr
    assert "hint:" in done.stderr
    assert (home / "ledger.sqlite3").read_bytes() == b"not a database" * 100


def test_a_home_that_cannot_be_written(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    (tmp_path / "file").write_text("")
    done = cli.run("plan", TUNEFARE_HOME=str(tmp_path / "file" / "home"))
    assert done.code == 1
    assert "cannot be written" in done.stderr
    assert "TUNEFARE_HOME" in done.stderr


def test_a_hub_model_without_network(cli: Cli, tmp_path: Path) -> None:
    write_run_file(tmp_path, model="nobody/no-such-model", data=write_news(tmp_path))
    done = cli.run("plan", HF_HOME=str(tmp_path / "hf"))
    assert done.code == 2
    assert "nobody/no-such-model" in done.stderr
    assert "hint:" in done.stderr
