"""The watcher's look at providers; moto plays AWS."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from manager.service.context import Context
from manager.service.leftovers import Askers
from manager.service.watch_orphans import EVERY_S, OrphanWatch
from tests.support.aws_account import AwsAccount
from tests.support.contexts import make_context
from tests.support.leftover_stage import EAST, LOST, OVER, Played, know_user, over
from tests.support.sky_stage import SilentAws


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


def test_machines_of_runs_that_are_over_are_ended_and_others_told_once(context: Context, account: AwsAccount) -> None:
    over(context)
    know_user(context)
    mine, lost = account.machine(EAST, run_id=OVER), account.machine(EAST, run_id=LOST)
    told: list[str] = []
    watch = OrphanWatch(context, told.append, askers=Played().askers())
    (left,) = watch.look()
    assert watch.look() == (left,)
    assert told == [f"aws us-east-1 {mine} (running) of {OVER}: gone", left]
    assert left.startswith(f"aws us-east-1 {lost} (running) of {LOST} is used by no run; to end it: aws ec2 terminate")
    assert (account.state(EAST, mine), account.state(EAST, lost)) == ("terminated", "running")


def test_a_provider_that_does_not_answer_is_told(context: Context) -> None:
    over(context)
    told: list[str] = []
    left = OrphanWatch(context, told.append, askers=Played(aws=SilentAws()).askers()).look()
    assert left == tuple(told)
    assert left[0] == "aws us-east-1 did not answer: no AWS credentials"


def test_a_ledger_that_cannot_be_read_is_told(context: Context) -> None:
    context.home.ledger_file.write_bytes(b"no ledger" * 1000)
    told: list[str] = []
    (left,) = OrphanWatch(context, told.append, askers=Askers(aws=SilentAws())).look()
    assert left.startswith("providers were not asked: ")


def test_an_error_that_nobody_foresaw_is_told(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread it would end without a word, and nothing said would look like nothing left."""

    def broken(*_arguments: object, **_options: object) -> None:
        raise KeyError("a new field of the provider")

    monkeypatch.setattr("manager.service.watch_orphans.find_leftovers", broken)
    told: list[str] = []
    watch = OrphanWatch(context, told.append, askers=Askers(aws=SilentAws()))
    thread = watch.tick()
    assert thread is not None
    thread.join()
    assert told == ["providers were not asked: KeyError: 'a new field of the provider'"]
    assert watch.asked is not None
    assert watch.asked.left == tuple(told)


def test_a_look_is_made_when_it_is_due_and_none_is_under_way(context: Context) -> None:
    now_s = [0.0]
    watch = OrphanWatch(context, lambda _: None, askers=Askers(aws=SilentAws()), clock=lambda: now_s[0])
    first = watch.tick()
    assert first is not None
    first.join()
    now_s[0] = EVERY_S - 1
    assert watch.tick() is None
    now_s[0] = EVERY_S
    second = watch.tick()
    assert second is not None
    second.join()
