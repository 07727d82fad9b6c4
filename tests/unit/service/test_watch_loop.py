"""The watcher as a process: one a state folder; what it saw is kept for others, with what providers have left."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from manager.cli.watch_command import status_lines
from manager.errors import StateError
from manager.runs.states import RunState
from manager.service import doctor, watch_loop
from manager.service.context import Context
from manager.service.watch_install import Installed
from manager.service.watch_kept import Tries, keep_installed, keep_look, read_tries
from manager.service.watch_loop import look_once, watch, watch_status
from manager.service.watch_orphans import EVERY_S, OrphanWatch
from manager.service.watching import Round, WatchAction, Watched, Watcher, round_from_json, round_to_json
from tests.support.contexts import make_context

LEFT = "aws us-east-1 i-1 (running) of lost-1 is used by no run"
DAY_S = 86400.0


@pytest.fixture
def clock() -> dict[str, float]:
    return {"now_s": 1_790_000_000.0}


@pytest.fixture
def context(tmp_path: Path, clock: dict[str, float]) -> Context:
    return make_context(tmp_path, clock=lambda: clock["now_s"])


class Providers:
    """What they have left, and how often they were asked."""

    def __init__(self) -> None:
        self.left: tuple[str, ...] = (LEFT,)
        self.asked = 0

    def look(self) -> tuple[str, ...]:
        self.asked += 1
        return self.left


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Providers:
    played = Providers()
    monkeypatch.setattr(OrphanWatch, "_left", lambda _self: played.look())
    return played


def quiet(_text: str) -> None:
    return None


def watcher_check(context: Context) -> doctor.Check:
    return doctor._watcher(context)


def install_by(monkeypatch: pytest.MonkeyPatch, how: str | None) -> None:
    found = None if how is None else Installed(how=how, where="there")
    monkeypatch.setattr(doctor, "installed", lambda _context: found)


def test_what_providers_have_left_reaches_status_and_doctor(
    context: Context, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_by(monkeypatch, None)
    found = look_once(context, quiet)
    assert (found.is_safe, found.left_at_providers) == (False, (LEFT,))
    status = watch_status(context)
    assert status.last is not None
    assert (status.last["safe"], status.last["left_at_providers"]) == (False, [LEFT])
    assert status.providers is not None
    assert (status.providers.at_s, status.providers.left) == (context.clock(), (LEFT,))
    lines = status_lines(context, status, is_installed=False)
    assert f"  {LEFT}" in lines
    check = watcher_check(context)
    assert check.state == doctor.ERROR
    assert LEFT in check.detail

    providers.left = ()
    assert look_once(context, quiet).is_safe
    assert watcher_check(context).state != doctor.ERROR


def test_what_the_thread_of_a_watcher_found_is_kept_by_its_next_look(
    context: Context, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Round] = []
    ended = threading.Event()

    class Ended:
        def is_set(self) -> bool:
            return ended.is_set()

        def wait(self, _seconds: float) -> None:
            time.sleep(0.1)
            status = watch_status(context)
            if (status.providers is not None and status.providers.left) or len(looks) > 100:
                ended.set()

    class Signals:
        def __enter__(self) -> Ended:
            return Ended()

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(watch_loop, "_until_signal", Signals)
    watch(context, every_s=5.0, tell=quiet)
    status = watch_status(context)
    assert status.last is not None
    assert status.last["left_at_providers"] == [LEFT]
    assert watch_loop.unsafe(status) == (LEFT,)


def test_a_timer_asks_providers_when_it_is_time_and_a_person_always(
    context: Context, providers: Providers, clock: dict[str, float]
) -> None:
    look_once(context, quiet, by_timer=True)
    clock["now_s"] += 60
    again = look_once(context, quiet, by_timer=True)
    assert (providers.asked, again.left_at_providers) == (1, (LEFT,)), "what is known stays known"
    look_once(context, quiet)
    assert providers.asked == 2
    clock["now_s"] += EVERY_S - 1
    look_once(context, quiet, by_timer=True)
    assert providers.asked == 2
    clock["now_s"] += 1
    look_once(context, quiet, by_timer=True)
    assert providers.asked == 3


@pytest.mark.usefixtures("providers")
def test_a_timer_waits_with_a_run_that_was_tried_and_a_person_does_not(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = {"a": Tries(count=3, next_at_s=context.clock() + 300.0)}
    keep_look(context, {}, None, tried)
    seen: list[Tries] = []

    def look(watcher: Watcher) -> Round:
        seen.append(replace(watcher.tries["a"]))
        return Round(at_s=context.clock(), runs=())

    monkeypatch.setattr(Watcher, "look", look)
    look_once(context, quiet, by_timer=True)
    assert read_tries(context) == tried
    look_once(context, quiet)
    assert seen == [tried["a"], Tries(count=3)]


def taken(context: Context) -> AbstractContextManager[bool]:
    return watch_loop._lock(context)


def test_one_that_looks_keeps_a_second_one_from_looking(
    context: Context, providers: Providers, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with taken(context), pytest.raises(StateError, match="has not told yet what it saw"):
        look_once(context, told.append)
    look_once(context, quiet)
    clock["now_s"] += 30
    monkeypatch.setattr(Watcher, "look", lambda _self: pytest.fail("two must not look at once"))
    with taken(context):
        found = look_once(context, told.append)
    assert (found.is_safe, found.left_at_providers) == (False, (LEFT,)), "as the other one saw it"
    assert told == [f"another watcher looks after {context.home.root}; this is what it saw 30 s ago"]
    assert providers.asked == 1


@pytest.mark.usefixtures("providers")
def test_one_that_hangs_says_nothing_for_a_second_one(context: Context, clock: dict[str, float]) -> None:
    look = {"pid": 1, "every_s": 60.0, "looked_at_s": clock["now_s"], "error": None}
    keep_look(context, {**look, "last": {"at_s": 1.0, "runs": [], "left_at_providers": [], "safe": True}}, None, {})
    with taken(context):
        assert look_once(context, quiet).is_safe
        clock["now_s"] += 181
        with pytest.raises(StateError, match="is LATE"):
            look_once(context, quiet)


def test_an_installed_watcher_that_does_not_look_is_an_error(
    context: Context, providers: Providers, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    providers.left = ()
    keep_installed(context, 60.0)
    install_by(monkeypatch, "cron")
    assert watcher_check(context).state == doctor.OK, "it was installed just now"
    clock["now_s"] += 181
    never = watcher_check(context)
    assert never.state == doctor.ERROR
    assert "though cron is to start it" in never.detail
    assert "LATE" in "".join(status_lines(context, watch_status(context), is_installed=True))

    look_once(context, quiet, by_timer=True)
    assert watcher_check(context).state == doctor.OK
    clock["now_s"] += 3 * DAY_S
    assert watcher_check(context).state == doctor.ERROR
    assert "LATE" in "".join(status_lines(context, watch_status(context), is_installed=True))
    install_by(monkeypatch, None)
    assert watcher_check(context).state == doctor.MISSING, "nobody is to look"


def test_one_that_an_older_version_installed_is_late_too(
    context: Context, providers: Providers, clock: dict[str, float]
) -> None:
    providers.left = ()
    look_once(context, quiet)
    clock["now_s"] += 2 * 3600
    assert not watch_status(context).is_late(clock["now_s"], is_installed=True)
    clock["now_s"] += 3600
    assert watch_status(context).is_late(clock["now_s"], is_installed=True)


@pytest.mark.usefixtures("providers")
def test_a_timer_keeps_why_it_could_not_look(context: Context) -> None:
    context.home.ledger_file.write_text("no ledger, on purpose")
    told: list[str] = []
    with pytest.raises(StateError, match="damaged"):
        look_once(context, told.append, by_timer=True)
    status = watch_status(context)
    assert status.error is not None
    assert told == [f"cannot look: {status.error}"]


def test_a_round_comes_back_as_it_was_kept() -> None:
    run = Watched(run_id="a", state=RunState.RUNNING, action=WatchAction.WAITING, detail="tried 2 times")
    found = Round(at_s=5.0, runs=(run,), left_at_providers=(LEFT,))
    assert round_from_json(round_to_json(found)) == found
    assert found.unsafe == ("a: tried 2 times", LEFT)
