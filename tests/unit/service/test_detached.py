"""Starting a process of its own: what reaches whoever asked when it does not get as far as the ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import manager.errors
from manager.errors import EngineError, OverBudgetError, StateError, TunefareError
from manager.launch.sky_worker import SkyPilotError
from manager.service import detached
from manager.service.context import Context
from manager.service.detached import (
    Order,
    error_from_json,
    error_to_json,
    read_order,
    start_detached,
    write_end,
    write_order,
)
from manager.service.supervisor import main as supervise_folder
from tests.support.cli import wait_for
from tests.support.contexts import make_context
from tests.unit.runs.samples import plan

ERRORS = [one for one in vars(manager.errors).values() if isinstance(one, type) and issubclass(one, TunefareError)]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("hint", [None, "do this"])
def test_an_error_travels_whole(kind: type[TunefareError], hint: str | None) -> None:
    error = kind("what went wrong", hint=hint)
    arrived = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert type(arrived) is kind
    assert (arrived.message, arrived.hint, arrived.exit_code) == ("what went wrong", hint, kind.exit_code)


def test_an_error_of_another_module_keeps_its_words() -> None:
    arrived = error_from_json(error_to_json(SkyPilotError("Timeout", "no answer", hint="wait")))
    assert type(arrived) is TunefareError
    assert (arrived.message, arrived.hint) == ("SkyPilot: no answer", "wait")


def test_a_name_that_is_no_error_makes_none() -> None:
    assert type(error_from_json({"type": "IntEnum", "message": "m", "hint": None})) is TunefareError


@pytest.mark.parametrize("cap", [None, Decimal("12.30")])
def test_an_order_travels_whole(tmp_path: Path, cap: Decimal | None) -> None:
    order = Order(run_id="job-20260101-aaaa", plan=plan(), cap_usd=cap)
    write_order(tmp_path, order)
    assert read_order(tmp_path) == order


def test_an_order_that_is_torn_is_told_of(tmp_path: Path) -> None:
    (tmp_path / detached.ORDER_FILE).write_text('{"run_id": "a"')
    assert supervise_folder(tmp_path) == 1
    with pytest.raises(StateError, match="cannot be read"):
        raise detached._why_ended(tmp_path, 1)


@pytest.fixture
def starts(context: Context, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Starts a process that does what the test says, instead of the supervision."""

    def start(code: str) -> str:
        monkeypatch.setattr(detached, "COMMAND", (sys.executable, "-c", code))
        return start_detached(context, plan(), cap_usd=Decimal(5))

    return start


def test_an_error_of_the_launch_reaches_who_asked(starts: Callable[[str], str], context: Context) -> None:
    code = """
import sys
from pathlib import Path
from manager.errors import OverBudgetError
from manager.service.detached import write_end
write_end(Path(sys.argv[1]), 4, OverBudgetError("the month's budget is spent", hint="raise it"))
raise SystemExit(4)
"""
    with pytest.raises(OverBudgetError, match="budget is spent") as caught:
        starts(code)
    assert caught.value.hint == "raise it"
    assert list(context.home.runs_dir.iterdir()) == []


def test_a_process_that_dies_without_a_word_leaves_its_log(starts: Callable[[str], str], context: Context) -> None:
    with pytest.raises(EngineError, match=r"exit status 3.*out of luck") as caught:
        starts("import sys; sys.stderr.write('out of luck'); raise SystemExit(3)")
    (folder,) = context.home.runs_dir.iterdir()
    assert str(folder) in str(caught.value.hint)


def test_a_process_that_does_not_begin_is_ended(
    starts: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    monkeypatch.setattr(detached, "START_TIMEOUT_S", 0.5)
    code = "import os, sys, time; open(sys.argv[1] + '/pid', 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(StateError, match="did not begin"):
        starts(code)
    (folder,) = context.home.runs_dir.iterdir()
    pid = (folder / "pid").read_text()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the process", timeout_s=20)


def test_the_order_and_the_end_are_private(tmp_path: Path) -> None:
    write_order(tmp_path, Order(run_id="a", plan=plan(), cap_usd=None))
    write_end(tmp_path, 0, None)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (detached.ORDER_FILE, detached.END_FILE)} == {0o600}


def test_what_can_be_refused_is_refused_before_anything_is_written(context: Context) -> None:
    with pytest.raises(OverBudgetError):
        start_detached(context, plan(), cap_usd=Decimal("0.01"))
    assert list(context.home.runs_dir.iterdir()) == []
    assert not context.home.ledger_file.exists()
