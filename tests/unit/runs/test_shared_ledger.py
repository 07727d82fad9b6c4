"""A ledger on a server: what people who share it can count on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode, OverBudgetError, StateError
from manager.launch.engine import Handle
from manager.runs import postgres
from manager.runs.budget_rows import standings, tightest_for
from manager.runs.budgets import BudgetScope
from manager.runs.charges import charge
from manager.runs.clients import LONGEST_SILENCE_S, Client, this_client, this_machine
from manager.runs.database import LedgerAwayError, now_of
from manager.runs.ledger import Ledger
from manager.runs.migrations import LEDGER_VERSION, TABLES
from manager.runs.postgres import PostgresStore
from manager.runs.reconcile import ReconcileAction, reconcile
from manager.runs.states import RunState
from tasks.protocol import EventType
from tests.support.postgres_stage import PASSWORD, new_url
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import PRICE, event, plan

pytestmark = pytest.mark.postgres
RUN = "job-20260101-aaaa"


@pytest.fixture
def url() -> str:
    return new_url()


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.connect(url) as opened:
        yield opened


def create(ledger: Ledger, run_id: str = RUN, client: Client | None = None, **who: str) -> None:
    ledger.create_run(run_id, plan(), Path("/runs") / run_id, "sky", Decimal(4), 1000.0, client, who.get("user"))


def test_every_table_refuses_to_be_changed(ledger: Ledger, url: str) -> None:
    import psycopg

    create(ledger)
    tables = (*TABLES, "ledger_versions")
    with psycopg.connect(url, autocommit=True) as raw:
        for table in tables:
            column = "version" if table == "ledger_versions" else "at_s" if table == "budgets" else "run_id"
            for change in (f"UPDATE {table} SET {column} = NULL", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
                with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                    raw.execute(change)
        found = raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {name for (name,) in found} == set(tables)


def test_a_schema_of_version_3_is_brought_to_this_one(url: str) -> None:
    import psycopg

    with Ledger.connect(url) as ledger:
        create(ledger)
    with psycopg.connect(url, autocommit=True) as raw:
        # What version 4 added is taken away again.
        raw.execute("DROP TABLE requotes")
        raw.execute("ALTER TABLE ledger_versions DISABLE TRIGGER ALL")
        raw.execute("UPDATE ledger_versions SET version = 3")
        raw.execute("ALTER TABLE ledger_versions ENABLE TRIGGER ALL")
    # Connections that this process keeps have found it to be of this version.
    postgres.close_idle()
    with Ledger.connect(url) as ledger:
        assert ledger.run(RUN).state is RunState.PLANNED
        assert ledger.requotes(RUN) == ()
    with psycopg.connect(url, autocommit=True) as raw:
        versions = raw.execute("SELECT version FROM ledger_versions ORDER BY version").fetchall()
        assert versions == [(3,), (LEDGER_VERSION,)]
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            raw.execute("DELETE FROM requotes")


def test_people_who_launch_together_overspend_no_budget(url: str) -> None:
    """Many rounds: in each, ten launches at once of two users and two projects want what is left for three."""
    rounds, people = 12, 10
    with Ledger.connect(url) as ledger:
        ledger.set_budget(BudgetScope.USER, "ann", Decimal(8), 1.0)
        ledger.set_budget(BudgetScope.PROJECT, "shared", Decimal(12), 1.0)
    made = plan()
    for number in range(rounds):
        project = f"shared-{number}"
        with Ledger.connect(url) as ledger:
            ledger.set_budget(BudgetScope.PROJECT, project, Decimal(12), 1.0)
        barrier = threading.Barrier(people)
        refused: list[str] = []
        launched: list[str] = []

        def launch(
            one: int,
            project: str = project,
            barrier: threading.Barrier = barrier,
            refused: list[str] = refused,
            launched: list[str] = launched,
        ) -> None:
            wanted = replace(made, spec=replace(made.spec, project=project))
            name, user = f"{project}-{one}", "ann" if one < 5 else "bob"
            with Ledger.connect(url) as ledger:
                barrier.wait()
                try:
                    ledger.create_run(name, wanted, Path("/r"), "sky", Decimal(4), 1.0, None, user)
                except OverBudgetError as error:
                    refused.append(error.message)
                else:
                    launched.append(name)

        threads = [threading.Thread(target=launch, args=(one,)) for one in range(people)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(launched), len(refused)) == (3, people - 3), refused
        with Ledger.connect(url) as ledger:
            found = {one.limit.name: one for one in ledger.look(lambda db: standings(db, 1.0))}
            assert found["ann"].left_usd >= 0
            assert found[project].left_usd == 0
            for name in launched:
                ledger.transition(name, RunState.INTERRUPTED, 2.0)


_LAUNCHES = """
import sys
from decimal import Decimal
from pathlib import Path
from manager.errors import OverBudgetError
from manager.runs.ledger import Ledger
from tests.unit.runs.samples import plan

made, url, name = plan(), *sys.argv[1:]
with Ledger.connect(url) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(25):
        try:
            ledger.create_run(f"{name}-{number}", made, Path("/r"), "sky", Decimal(4), 1.0, None, name)
        except OverBudgetError:
            pass
"""


def test_processes_that_launch_at_once_share_what_is_left(url: str) -> None:
    """Two of them, 25 launches each, and dollars for 21: not one more, and not one less."""
    with Ledger.connect(url) as ledger:
        ledger.set_budget(BudgetScope.MONTH, "", Decimal(87), 1.0)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _LAUNCHES, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for name in ("ann", "bob")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with Ledger.connect(url) as ledger:
        (standing,) = ledger.look(lambda db: standings(db, 1.0))
        assert len(ledger.summaries()) == 21
    assert (standing.committed_usd, standing.left_usd) == (Decimal(84), Decimal(3))


def test_a_user_has_a_budget_of_each_month(ledger: Ledger) -> None:
    """By the clock of the server, in UTC; what another user launches is not in it."""
    ledger.set_budget(BudgetScope.USER, "ann", Decimal(5), 1.0)
    create(ledger, "one", user="ann")
    create(ledger, "two", user="bob")
    now_s = ledger.look(lambda db: now_of(db, 0.0))
    assert abs(now_s - time.time()) < 60
    ledger.transition("one", RunState.LAUNCHING, 1.0)
    ledger.add_charge("one", charge(from_s=now_s - 60, to_s=now_s, price_usd_per_hour=PRICE, at_s=now_s))
    tight = ledger.look(lambda db: tightest_for(db, None, 1.0, "ann"))
    assert tight is not None
    assert tight.title == f"budget of user ann {time.strftime('%Y-%m', time.gmtime(now_s))}"
    assert [run.run_id for run in tight.runs] == ["one"]
    assert tight.spent.usd == Decimal("0.06")
    assert tight.left_usd == Decimal(1)
    assert ledger.look(lambda db: tightest_for(db, None, 1.0, "bob")) is None
    with pytest.raises(OverBudgetError, match=r"budget of user ann .* leaves \$1.00 of \$5.00"):
        create(ledger, "three", user="ann")
    assert {run.run_id: run.user for run in ledger.summaries()} == {"one": "ann", "two": "bob"}
    assert ledger.run("one").user == "ann"


def test_a_machine_of_the_same_name_is_another_one(ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes cannot be asked about: it lives while the server hears of it, by the server's clock alone."""
    colleague = replace(this_client(1000.0), machine="another", pid=1)
    create(ledger, client=colleague)
    wrong_clock = 10 * LONGEST_SILENCE_S + time.time()
    assert ledger.client_lives(RUN, wrong_clock)
    engine = PlayedEngine()
    (left,) = reconcile(ledger, {"sky": engine}, lambda: wrong_clock, lambda _: None)
    assert left.action is ReconcileAction.LEFT_ALONE
    assert engine.calls == []
    monkeypatch.setattr("manager.runs.clients.LONGEST_SILENCE_S", -1.0)
    assert not ledger.client_lives(RUN, wrong_clock)
    (taken,) = reconcile(ledger, {"sky": engine}, lambda: wrong_clock, lambda _: None)
    assert taken.action is ReconcileAction.NEVER_LAUNCHED


def test_what_trains_on_a_colleagues_own_machine_is_left_to_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    colleague = replace(this_client(1000.0), machine="another", pid=1)
    ledger.create_run(RUN, plan(), Path("/runs/x"), "local", Decimal(4), 1000.0, colleague)
    ledger.transition(RUN, RunState.LAUNCHING, 1001.0)
    monkeypatch.setattr("manager.runs.clients.LONGEST_SILENCE_S", -1.0)
    (left,) = reconcile(ledger, {"local": PlayedEngine()}, time.time, lambda _: None)
    assert left.action is ReconcileAction.FAILED
    assert left.error is not None
    assert "trains on" in left.error.message
    assert ledger.client(RUN) == replace(colleague, row_id=1)


def test_a_local_run_of_another_user_of_this_machine_is_left_to_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes and files may be hidden from this user: that they are not seen says nothing."""
    this_machine.cache_clear()
    with monkeypatch.context() as other:
        other.setattr("os.getuid", lambda: 4711)
        colleague = replace(this_client(1000.0), pid=2**22 + 1)
    this_machine.cache_clear()
    ledger.create_run(RUN, plan(), Path("/runs/x"), "local", Decimal(4), 1000.0, colleague)
    ledger.transition(RUN, RunState.LAUNCHING, 1001.0)
    assert ledger.client_lives(RUN, time.time()), "its rows are new"
    monkeypatch.setattr("manager.runs.clients.LONGEST_SILENCE_S", -1.0)
    (left,) = reconcile(ledger, {"local": PlayedEngine()}, time.time, lambda _: None)
    assert left.action is ReconcileAction.FAILED
    assert left.error is not None
    assert "as the user who launched it" in (left.error.hint or "")
    assert ledger.state(RUN) is RunState.LAUNCHING


def test_a_folder_of_another_machine_is_looked_for_here(url: str, tmp_path: Path) -> None:
    with Ledger.connect(url, runs_dir=tmp_path) as ledger:
        create(ledger)
        ledger.store_handle(RUN, Handle(engine="sky", run_dir="/runs/x", name=RUN, details={}), 1.0)
        record = ledger.run(RUN)
    assert record.run_dir == tmp_path / RUN
    assert record.handle is not None
    assert record.handle.run_dir == str(tmp_path / RUN)


def test_a_newer_ledger_is_refused(url: str) -> None:
    import psycopg

    Ledger.connect(url).close()
    postgres.close_idle()
    with psycopg.connect(url) as raw:
        raw.execute(f"INSERT INTO ledger_versions VALUES ({LEDGER_VERSION + 1})")
    with pytest.raises(StateError, match=f"has version {LEDGER_VERSION + 1}, this tunefare knows up to"):
        Ledger.connect(url)


def test_rows_hold_what_a_server_cannot(ledger: Ledger) -> None:
    """The character 0, and its escape in JSON."""
    create(ledger)
    ledger.transition(RUN, RunState.LAUNCHING, 1.0, "a\0b")
    failed = event(0, EventType.FAILED, error="x", message="a\0b")
    assert ledger.append_events(RUN, [failed]) == (failed,)
    assert ledger.events(RUN) == (failed,)
    assert ledger.run(RUN).history[-1].detail == "a\N{REPLACEMENT CHARACTER}b"


def test_a_lock_that_is_held_is_waited_for_and_then_told(url: str) -> None:
    with Ledger.connect(url) as first, Ledger.connect(url, patience_s=0.2) as second:
        create(first)
        with first.store.writing():
            with pytest.raises(LedgerAwayError, match="is locked by somebody else"):
                second.request_stop(RUN, 1.0, "why")
            assert second.stop_request(RUN) is None
        second.request_stop(RUN, 1.0, "why")


@pytest.mark.parametrize("made_wrong", ["port", "password", "url"])
def test_who_cannot_come_in_learns_why_and_no_password(url: str, made_wrong: str) -> None:
    port = url.rsplit(":", 1)[1].split("/")[0]
    wrong = {
        "port": url.replace(f":{port}/", ":1/"),
        "password": url.replace(PASSWORD, "other-secret"),
        "url": url.replace(f":{port}/", ":no-port/"),
    }[made_wrong]
    with pytest.raises(StateError) as caught:
        Ledger.connect(wrong)
    told = f"{caught.value.message} {caught.value.hint}"
    assert caught.value.exit_code == ExitCode.TASK_FAILED
    assert "secret" not in told
    assert PASSWORD not in told
    assert "***" in told


def test_a_connection_that_was_cut_is_made_again(ledger: Ledger, url: str) -> None:
    import psycopg

    create(ledger)
    with psycopg.connect(url, autocommit=True) as raw:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tunefare'"
        raw.execute(f"{cut} AND datname = current_database()")
    assert ledger.state(RUN) is RunState.PLANNED
    assert isinstance(ledger.store, PostgresStore)
