"""`requote`: what became of a renewed quote, and an answer to its question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.runs.ledger import Ledger
from manager.runs.requote_rows import RequoteRow, RequoteStep
from manager.service.live_requote import live_requote, requote_words
from tests.support.in_process import Shell
from tests.unit.runs.samples import order

RUN = "job-20260101-aaaa"
FAR_S = 4e9
RENEWED = RequoteRow(step=RequoteStep.RENEWED, at_s=1.0, text="now $2.00, quoted $1.00: 100 % above")
ASKED = RequoteRow(step=RequoteStep.ASKED, at_s=2.0, text="without an answer it goes on", until_s=FAR_S)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    made = order(tmp_path / "home" / "runs" / RUN, run_id=RUN)
    with Ledger.open(tmp_path / "home" / "ledger.sqlite3") as ledger:
        ledger.create_run(RUN, made.plan, made.request.run_dir, "local", None, 1.0)
    return shell


def keep(folder: Path, *rows: RequoteRow) -> None:
    with Ledger.open(folder / "home" / "ledger.sqlite3") as ledger:
        for row in rows:
            ledger.add_requote(RUN, row)


def test_without_a_probe_nothing_is_asked(shell: Shell) -> None:
    assert "no probe has renewed its quote" in shell.good("requote", RUN)
    refused = shell.run("requote", RUN, "--go-on")
    assert refused.code == 2
    assert "asks nothing now" in refused.stderr


def test_an_answer_is_kept_and_the_second_one_refused(shell: Shell) -> None:
    keep(shell.folder, RENEWED, ASKED)
    assert RENEWED.text in shell.good("requote", "job-2026")
    told = json.loads(shell.good("requote", RUN, "--end", "--json"))
    assert [row["step"] for row in told["rows"]] == ["renewed", "asked", "answered"]
    assert told["rows"][-1]["goes_on"] is False
    assert shell.run("requote", RUN, "--go-on").code == 2


def test_two_answers_are_none(shell: Shell) -> None:
    keep(shell.folder, RENEWED, ASKED)
    assert shell.run("requote", RUN, "--go-on", "--end").code == 2
    assert "answered" not in shell.good("requote", RUN)


def test_words_tell_what_is_open_and_what_was_decided() -> None:
    assert live_requote((), now_s=3.0, is_over=False) is None
    asked = live_requote((RENEWED, ASKED), now_s=3.0, is_over=False)
    assert asked is not None
    assert requote_words(asked).startswith("ASKED whether it goes on")
    late = live_requote((RENEWED, ASKED), now_s=FAR_S, is_over=False)
    over = live_requote((RENEWED, ASKED), now_s=3.0, is_over=True)
    assert requote_words(late) == requote_words(over) == f"quote renewed: {RENEWED.text}"
    settled = RequoteRow(step=RequoteStep.SETTLED, at_s=3.0, text="ended as you answered")
    done = live_requote((RENEWED, ASKED, settled), now_s=3.0, is_over=False)
    assert requote_words(done) == f"quote renewed: {RENEWED.text}; ended as you answered"
