"""Panic beyond the ledger: machines that only AWS knows, which moto plays."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manager.errors import ExitCode
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.leftovers import Askers
from manager.service.panic import panic, panic_targets
from manager.service.panic_orphans import asks_providers, end_orphans
from manager.service.panic_report import PanicReport, PanicUpdate, panic_to_json
from tests.support.aws_account import AwsAccount
from tests.support.contexts import make_context
from tests.support.leftover_stage import EAST, LIVING, LOST, OVER, EastAws, Played, keep, know_user, over
from tests.support.sky_stage import SilentAws


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


@contextmanager
def no_engines() -> Iterator[dict[str, object]]:
    yield {}


def end_all(context: Context, askers: Askers, *, limit_s: float = 60.0) -> tuple[PanicReport, list[PanicUpdate]]:
    told: list[PanicUpdate] = []
    found = panic_targets(context)
    report = panic(
        context,
        found,
        on_update=told.append,
        limit_s=limit_s,
        open_engines=no_engines,  # type: ignore[arg-type]
        askers=askers,
    )
    return report, told


def test_machines_that_no_run_uses_are_ended_and_nobody_elses(context: Context, account: AwsAccount) -> None:
    over(context)
    know_user(context)
    ids = {run: account.machine(EAST, run_id=run) for run in (OVER, LOST)}
    foreign, others = account.machine(EAST, run_id="theirs", user_hash="99999999"), account.machine(EAST, run_id=None)
    assert asks_providers(context)
    report, told = end_all(context, Played().askers())
    assert {entry.run_id: (entry.state, entry.is_gone) for entry in report.entries} == {
        OVER: (RunState.SUCCEEDED, True),
        LOST: (None, True),
    }
    assert report.exit_code is ExitCode.DONE
    assert {account.state(EAST, machine) for machine in ids.values()} == {"terminated"}
    assert {account.state(EAST, machine) for machine in (foreign, others)} == {"running"}
    assert f"aws us-east-1 {ids[OVER]} (running) is used by no run: ending it" in {update.text for update in told}
    assert all(one["gone"] for one in panic_to_json(report)["runs"])


def test_a_living_runs_machine_is_left_to_whoever_ends_the_run(context: Context, account: AwsAccount) -> None:
    keep(context, LIVING, RunState.LAUNCHING, RunState.RUNNING)
    machine = account.machine(EAST, run_id=LIVING)
    assert end_orphans(context, [LIVING], lambda _: None, askers=Played().askers()) == ()
    assert account.state(EAST, machine) == "running"


def test_without_a_ledger_this_users_machines_are_ended(context: Context, account: AwsAccount) -> None:
    over(context)
    know_user(context)
    mine, theirs = account.machine(EAST, run_id=OVER), account.machine(EAST, run_id=OVER, user_hash="99999999")
    context.home.ledger_file.write_bytes(b"not a ledger")
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(context.home.ledger_file).execute("SELECT 1 FROM runs")
    entries = end_orphans(context, (), lambda _: None, askers=Played().askers())
    assert [(entry.run_id, entry.state, entry.is_gone) for entry in entries] == [(OVER, None, True)]
    assert (account.state(EAST, mine), account.state(EAST, theirs)) == ("terminated", "running")


def test_an_aws_that_does_not_answer_is_not_confirmed(context: Context) -> None:
    over(context)
    report, _ = end_all(context, Played(aws=SilentAws()).askers())
    (entry,) = report.unconfirmed
    assert entry.run_id == "providers"
    assert "no answer from aws us-east-1, aws" in entry.told
    assert entry.commands == ("tunefare leftovers",)
    assert report.exit_code is ExitCode.TEARDOWN_UNCONFIRMED


def test_a_region_where_no_run_was_is_no_alarm(context: Context, account: AwsAccount) -> None:
    class Denied(EastAws):
        def find(self, regions, *, run_id=None):  # type: ignore[no-untyped-def]
            found = super().find(regions, run_id=run_id)
            return type(found)(items=found.items, silent={"aws ap-south-1": "no permission"})

    over(context)
    report, _ = end_all(context, Played(aws=Denied()).askers())
    assert report.entries == ()


def test_a_provider_that_hangs_is_given_up(context: Context) -> None:
    class Hanging(SilentAws):
        def regions(self):  # type: ignore[no-untyped-def]
            time.sleep(30)
            return super().regions()

    over(context)
    report, _ = end_all(context, Played(aws=Hanging()).askers(), limit_s=1.0)
    (entry,) = report.unconfirmed
    assert entry.told == "machines that the ledger does not know: not ended within 1 s"


def test_where_nothing_ever_ran_nobody_is_asked(context: Context) -> None:
    assert not asks_providers(context)
    report, _ = end_all(context, Askers(aws=SilentAws(), clusters=lambda: pytest.fail("asked")))
    assert report.entries == ()


def test_a_machine_that_stays_is_told_with_what_to_type(context: Context, account: AwsAccount) -> None:
    class Refusing(EastAws):
        def remove(self, item):  # type: ignore[no-untyped-def]
            from manager.errors import EngineError

            raise EngineError("no permission")

    over(context)
    machine = account.machine(EAST, run_id=OVER)
    report, _ = end_all(context, Played(aws=Refusing()).askers())
    (entry,) = report.unconfirmed
    assert entry.told == f"instance {machine}, which no run used: no permission"
    assert entry.commands == (f"aws ec2 terminate-instances --region us-east-1 --instance-ids {machine}",)
