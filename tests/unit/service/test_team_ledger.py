"""The verbs with a ledger that people share: the same answers as with a file; runs brought from one to the other."""

from __future__ import annotations

import re
import time
from decimal import Decimal

import pytest

from manager.cli.main import app
from manager.errors import ConfigError, ExitCode, StateError, UsageError
from manager.launch.sky_check import check_sky
from manager.launch.sky_worker import SkyWorker
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.service.budgets import budget_left, budget_states, month_history, set_budget
from manager.service.context import Context, open_context
from manager.service.doctor import examine
from manager.service.inspection import find_events, open_ledger, run_json
from manager.service.ledger_copy import copy_ledger
from manager.service.live import Follower
from manager.service.money import money_now
from manager.service.run_list import RunChoice, choose_runs, ledger_mark, run_summaries
from manager.service.settings import set_setting, settings
from tests.support.budget_stage import ended, launched
from tests.support.postgres_stage import PASSWORD, new_url
from tests.unit.runs.samples import event

pytestmark = pytest.mark.postgres


@pytest.fixture
def url() -> str:
    return new_url()


@pytest.fixture
def shared(url: str, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("TUNEFARE_LEDGER_URL", url)
    monkeypatch.setenv("TUNEFARE_USER", "ann")
    return open_context()


def of_file(context: Context) -> Ledger:
    context.home.ensure()
    return Ledger.open(context.home.ledger_file)


def test_a_file_is_copied_once_and_whole(shared: Context, url: str) -> None:
    now_s = time.time()
    with of_file(shared) as ledger:
        for name in ("done", "going-on"):
            launched(ledger, name, project="p", cap="5", at_s=now_s - 600, charged_s=300)
            ledger.append_events(name, [event(0), event(1)])
        ended(ledger, "done", now_s)
        before = ledger.run_events("done")
        summary = next(run for run in ledger.summaries() if run.run_id == "done")
    found = copy_ledger(shared, url)
    assert (found.copied, found.present, found.not_over) == (("done",), (), ("going-on",))
    again = copy_ledger(shared, None)
    assert (again.copied, again.present, again.not_over) == ((), ("done",), ("going-on",))
    after = find_events(shared, "done")
    assert after.events == before.events
    assert (after.record.charges, after.record.history) == (before.record.charges, before.record.history)
    assert (before.record.user, after.record.user) == (None, "ann")
    (copied,) = run_summaries(shared)
    assert (copied.cost_usd, copied.user, copied.state) == (summary.cost_usd, "ann", RunState.SUCCEEDED)
    with of_file(shared) as ledger:
        ended(ledger, "going-on", now_s)
    assert copy_ledger(shared, None).copied == ("going-on",)
    assert {run.run_id for run in run_summaries(shared)} == {"done", "going-on"}


def test_copying_needs_a_server_and_a_file(shared: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no ledger in"):
        copy_ledger(shared, None)
    with pytest.raises(ConfigError, match="no URL of PostgreSQL"):
        copy_ledger(shared, "mysql://host/x")
    monkeypatch.delenv("TUNEFARE_LEDGER_URL")
    with pytest.raises(UsageError, match="copy to where"):
        copy_ledger(open_context(), None)


def test_users_have_budgets_and_lists(shared: Context) -> None:
    now_s = time.time()
    set_budget(shared, "user", "ann", Decimal(20))
    set_budget(shared, "month", None, Decimal(500))
    with open_ledger(shared) as ledger:
        launched(ledger, "nobodys", at_s=now_s - 60, cap="5", charged_s=30)
    left = budget_left(shared, None)
    assert left is not None
    assert (left.limit.name, left.left_usd) == ("ann", Decimal(20))
    month, mine = budget_states(shared)
    assert month.title == f"month budget {time.strftime('%Y-%m', time.gmtime())}"
    assert mine.title == f"budget of user ann {time.strftime('%Y-%m', time.gmtime())}"
    assert [run.run_id for run in month.runs] == ["nobodys"]
    assert mine.runs == ()
    assert month_history(shared, 1)[0].limit_usd == Decimal(500)
    money = money_now(shared)
    assert money.budget is not None
    assert [run.run_id for run in money.runs] == ["nobodys"]
    assert choose_runs(run_summaries(shared), RunChoice(user="ann")) == ()
    with pytest.raises(UsageError, match="is no user"):
        set_budget(shared, "user", "two words", Decimal(1))


def test_a_run_is_followed_and_its_list_is_marked(shared: Context) -> None:
    now_s = time.time()
    with open_ledger(shared) as ledger:
        launched(ledger, "run", at_s=now_s - 60, cap="5", charged_s=30)
    follower = Follower(shared, "run")
    assert follower.poll().has_client is False
    mark = ledger_mark(shared)
    assert ledger_mark(shared) == mark
    with open_ledger(shared) as ledger:
        ended(ledger, "run", now_s)
        record = ledger.run("run")
    assert ledger_mark(shared) != mark
    assert follower.poll().is_over
    follower.close()
    assert run_json(shared, record)["user"] is None


def test_no_word_of_the_password(
    shared: Context, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [state for state in settings(shared) if state.name == "ledger_url"]
    assert told[0].value == told[0].shown
    assert "***" in told[0].shown
    assert PASSWORD not in repr(told)
    absent = check_sky(worker=SkyWorker(command=("false",)), timeout_s=5.0)
    monkeypatch.setattr("manager.service.doctor.check_sky", lambda: absent)
    for command in (["config", "show"], ["config", "show", "--json"], ["doctor"]):
        app(command, standalone_mode=False)
    ledger = next(check for check in examine(shared) if check.name == "ledger")
    assert re.match(r"postgresql://ledger:\*\*\*@127.0.0.1:\d+/ledger_\w+ as ann, 0 runs", ledger.detail)
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err
    with pytest.raises(ConfigError, match="taken out for people's eyes"):
        set_setting(shared, "ledger_url", told[0].value)


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    away = url.replace("127.0.0.1", "localhost").rsplit(":", 1)[0] + ":1/ledger"
    monkeypatch.setenv("TUNEFARE_LEDGER_URL", away)
    context = open_context()
    with pytest.raises(StateError, match="does not answer") as caught:
        run_summaries(context)
    assert caught.value.exit_code == ExitCode.TASK_FAILED
    assert caught.value.hint
    assert PASSWORD not in caught.value.message
    assert ledger_mark(context) == ()
