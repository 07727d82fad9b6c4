"""`tunefare reconcile` as it is typed, where a provider knows what the ledger does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.service import leftover_ends
from manager.service.context import Context
from manager.service.leftovers import Askers, find_leftovers
from tests.support.aws_account import AwsAccount
from tests.support.contexts import make_context
from tests.support.in_process import Shell
from tests.support.leftover_stage import EAST, LOST, OVER, Played, know_user, over
from tests.support.sky_stage import SilentAws


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


def asked(monkeypatch: pytest.MonkeyPatch, askers: Askers) -> None:
    found, remove = find_leftovers, leftover_ends.remove_leftover
    monkeypatch.setattr(leftover_ends, "find_leftovers", lambda c, **k: found(c, **{**k, "askers": askers}))
    monkeypatch.setattr(leftover_ends, "remove_leftover", lambda c, i, **k: remove(c, i, **{**k, "askers": askers}))


def test_a_fresh_home_has_nothing_to_reconcile(shell: Shell) -> None:
    done = shell.run("reconcile")
    assert (done.code, done.stderr) == (0, "nothing to reconcile: no run may still be billed\n")


def test_machines_of_runs_that_are_over_are_ended_and_others_told(
    shell: Shell, context: Context, account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(context)
    know_user(context)
    asked(monkeypatch, Played().askers())
    mine, lost = account.machine(EAST, run_id=OVER), account.machine(EAST, run_id=LOST)
    done = shell.run("reconcile")
    assert done.code == 5
    assert f"aws us-east-1 {mine} (running) of {OVER}: gone" in done.stderr
    assert f"aws us-east-1 {lost} (running), g5.xlarge, is used by no run of this ledger" in done.stderr
    assert f"not confirmed to be gone: {lost} (aws us-east-1)" in done.stderr
    assert (account.state(EAST, mine), account.state(EAST, lost)) == ("terminated", "running")
    assert shell.run("reconcile", "--end").code == 0
    assert account.state(EAST, lost) == "terminated"


def test_an_aws_that_does_not_answer_is_not_confirmed(
    shell: Shell, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(context)
    asked(monkeypatch, Played(aws=SilentAws()).askers())
    done = shell.run("reconcile")
    assert done.code == 5
    assert "aws us-east-1 did not answer: no AWS credentials" in done.stderr
