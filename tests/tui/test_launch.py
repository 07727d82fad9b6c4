"""The launch dialog: what it says, how it is confirmed, and that nothing starts before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from manager.errors import StateError
from manager.planner.plan import Plan
from manager.runs.updates import OnUpdate, TransferUpdate
from manager.service.context import Context
from manager.service.preflight import NAMES, CheckState, Preflight
from tests.support.followed_run import FollowedRun
from tests.support.report_factory import make_offer, make_plan, make_spec
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens import launch
from tui.screens.launch import LaunchDialog


class Starts:
    """Stands in for `start_detached`; remembers with which cap it was asked."""

    def __init__(self, run_id: str = "started-1", error: Exception | None = None) -> None:
        self.caps: list[Decimal | None] = []
        self._run_id = run_id
        self._error = error

    def __call__(self, context: Context, plan: Plan, *, cap_usd: Decimal | None, on_update: OnUpdate) -> str:
        self.caps.append(cap_usd)
        if self._error is not None:
            raise self._error
        return self._run_id


TOLD = {
    "credentials": (CheckState.OK, "AWS knows arn:aws:iam::000000000000:user/me"),
    "quota": (CheckState.UNKNOWN, "AWS did not say"),
    "bucket": (CheckState.SKIPPED, "none is set: checkpoints stay on the machine's disk"),
}


class Checks:
    """Stands in for `preflight`: each is well but what the test says, and none comes before it is let through."""

    def __init__(self) -> None:
        self.told = {name: TOLD.get(name, (CheckState.OK, f"{name} is as it should be")) for name in NAMES}
        self.hints: dict[str, str] = {}
        self.error: Exception | None = None
        self.gate = Event()
        self.gate.set()
        self.caps: list[Decimal | None] = []

    def __call__(
        self, context: Context, plan: Plan, *, cap_usd: Decimal | None, is_launch: bool
    ) -> Iterator[Preflight]:
        assert is_launch
        self.caps.append(cap_usd)
        if self.error is not None:
            raise self.error
        for name, (state, text) in self.told.items():
            if name == "step":
                assert self.gate.wait(30)
            yield Preflight(name=name, state=state, text=text, hint=self.hints.get(name))


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    found = Checks()
    monkeypatch.setattr(launch, "preflight", found)
    return found


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    found = Starts()
    monkeypatch.setattr(launch, "start_detached", found)
    return found


def plan_of(*, cap: str | None = "2", price: str = "0.8048") -> Plan:
    spec = make_spec()
    budget = replace(spec.budget, max_usd=None if cap is None else Decimal(cap))
    return make_plan(offer=make_offer(price=price), spec=replace(spec, budget=budget))


async def ask(pilot: Pilot[None], plan: Plan) -> LaunchDialog:
    dialog = LaunchDialog(plan)
    await pilot.app.push_screen(dialog)
    await settled(pilot)
    return dialog


def text(pilot: Pilot[None]) -> str:
    app = pilot.app
    assert isinstance(app, TunefareApp)
    return text_of(app)


@pytest.mark.parametrize("size", SIZES)
async def test_money_question_and_keys_are_in_sight_at_each_size(
    tmp_path: Path, starts: Starts, size: tuple[int, int]
) -> None:
    async with running(TunefareApp(tui_context(tmp_path)), size) as pilot:
        await ask(pilot, plan_of())
        shown = text(pilot)
    assert "expected  $0.20" in shown
    assert "cap       $2.00" in shown
    assert "at most   $2.0" in shown
    assert "where     aws us-east-1 g6.xlarge, 1 x L4, $0.80/h" in shown
    assert "checks    5 ok, 1 unknown, 1 skipped" in shown
    assert "y launches, Esc goes back" in shown
    assert starts.caps == []


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
async def test_picture_of_the_dialog(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    app = TunefareApp(tui_context(tmp_path), background=theme)
    async with running(app, size) as pilot:
        await app.action_show("run")
        await ask(pilot, plan_of(cap="20"))
        assert_snapshot(app, f"launch-{size[0]}x{size[1]}-{theme}")


async def test_a_yes_starts_the_run_under_the_cap_and_shows_it(tmp_path: Path, starts: Starts) -> None:
    followed = FollowedRun(folder=tmp_path, run_id="started-1")
    followed.run()
    async with running(TunefareApp(followed.context)) as pilot:
        await ask(pilot, plan_of())
        await pilot.press("y")
        await until(pilot, lambda: pilot.app.current_mode == "run")
        app = pilot.app
        assert isinstance(app, TunefareApp)
        assert app.open_run_id == "started-1"
        assert starts.caps == [Decimal("2")]


@pytest.mark.parametrize("key", ["escape", "enter", "n"])
async def test_no_other_key_launches(tmp_path: Path, starts: Starts, key: str) -> None:
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        await ask(pilot, plan_of())
        await pilot.press(key)
        await settled(pilot)
        assert isinstance(pilot.app.screen, LaunchDialog) == (key != "escape")
    assert starts.caps == []


async def test_nothing_is_launched_while_checks_run_and_each_has_its_line(
    tmp_path: Path, starts: Starts, checks: Checks
) -> None:
    checks.gate.clear()
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        dialog = LaunchDialog(plan_of())
        await app.push_screen(dialog)
        await until(pilot, lambda: "4 of 7 done" in text(pilot))
        shown = text(pilot)
        assert "credentials ok      AWS knows arn:aws:iam::000000000000:user/me" in shown
        assert "quota       unknown AWS did not say" in shown
        assert "bucket      skipped none is set" in shown
        assert "step        ..." in shown
        await pilot.press("y")
        assert starts.caps == []
        assert "checking before anything costs" in text(pilot)
        assert dialog.query_one("#yes", Button).disabled
        checks.gate.set()
        await settled(pilot)
        assert not dialog.query_one("#yes", Button).disabled
        assert "y launches" in text(pilot)
    assert checks.caps == [Decimal(2)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_failed_check_refuses_the_launch_until_it_is_left_out(
    tmp_path: Path, starts: Starts, checks: Checks, size: tuple[int, int]
) -> None:
    checks.told["bucket"] = (CheckState.FAILED, "s3://mine: access denied")
    checks.hints["bucket"] = "let the role write to it"
    followed = FollowedRun(folder=tmp_path, run_id="started-1")
    app = TunefareApp(followed.context)
    async with running(app, size) as pilot:
        await app.action_show("run")
        dialog = await ask(pilot, plan_of())
        shown = text(pilot)
        assert "bucket FAILED" in shown
        assert "bucket      FAILED  s3://mine: access denied" in shown
        assert "nothing is launched: bucket failed" in shown
        assert dialog.query_one("#yes", Button).disabled
        assert_snapshot(app, f"launch-refused-{size[0]}x{size[1]}-dark")
        await pilot.press("y")
        await settled(pilot)
        assert starts.caps == []
        await pilot.press("f4")
        await settled(pilot)
        assert "checks    LEFT OUT, as you chose" in text(pilot)
        assert starts.caps == []
        await pilot.press("y")
        await until(pilot, lambda: app.current_mode == "run" and app.open_run_id == "started-1")
    assert starts.caps == [Decimal(2)]


async def test_a_name_that_is_typed_does_not_get_past_a_failed_check(
    tmp_path: Path, starts: Starts, checks: Checks
) -> None:
    checks.told["disk"] = (CheckState.FAILED, "12 GiB are needed, the plan asks for 10 GiB")
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        dialog = await ask(pilot, plan_of(cap="20"))
        await pilot.press(*"bbc-news-minilm", "enter")
        await settled(pilot)
        assert starts.caps == []
        assert "nothing is launched: disk failed" in text(pilot)
        await pilot.press("f4")
        await settled(pilot)
        assert not dialog.query_one("#yes", Button).disabled


async def test_checks_that_cannot_be_made_are_told(tmp_path: Path, starts: Starts, checks: Checks) -> None:
    checks.error = StateError("the ledger is locked", hint="wait for it")
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        await ask(pilot, plan_of())
        assert "checks    could not be made" in text(pilot)
        assert "error: the ledger is locked" in text(pilot)
        await pilot.press("y")
        await settled(pilot)
    assert starts.caps == []


async def test_above_the_threshold_the_name_is_typed(tmp_path: Path, starts: Starts) -> None:
    followed = FollowedRun(folder=tmp_path, run_id="started-1")
    async with running(TunefareApp(followed.context)) as pilot:
        dialog = await ask(pilot, plan_of(cap="20"))
        assert "type bbc-news-minilm to launch it" in text(pilot)
        await pilot.press(*"bbc-news", "enter")
        await settled(pilot)
        assert starts.caps == []
        assert "that is not bbc-news-minilm" in text(pilot)
        assert dialog.query_one("#yes", Button).disabled
        await pilot.press(*"-minilm")
        assert not dialog.query_one("#yes", Button).disabled
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.current_mode == "run")
        assert starts.caps == [Decimal("20")]


async def test_the_letter_that_launches_is_only_a_letter_where_a_name_is_typed(tmp_path: Path, starts: Starts) -> None:
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        dialog = await ask(pilot, plan_of(cap="20"))
        await pilot.press("y")
        await settled(pilot)
        assert dialog.query_one("#name", Input).value == "y"
    assert starts.caps == []


async def test_an_error_of_the_start_stays_in_the_dialog_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Starts(error=StateError("the ledger is locked", hint="wait for it"))
    monkeypatch.setattr(launch, "start_detached", broken)
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        dialog = await ask(pilot, plan_of())
        await pilot.press("y")
        await settled(pilot)
        shown = text(pilot)
        assert "error: the ledger is locked" in shown
        assert "hint: wait for it" in shown
        assert isinstance(pilot.app.screen, LaunchDialog)
        await pilot.press("y")
        await settled(pilot)
        assert len(broken.caps) == 2
        assert not dialog.query_one("#yes", Button).disabled


async def test_data_on_their_way_to_the_bucket_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, go_on = Event(), Event()

    def start(context: Context, plan: Plan, *, cap_usd: Decimal | None, on_update: OnUpdate) -> str:
        on_update(
            TransferUpdate(
                run_id="r",
                at_s=0.0,
                what="data",
                to="s3://[b]/x",
                done_bytes=2**30,
                of_bytes=2**31,
                bytes_per_s=2.0**26,
            )
        )
        seen.set()
        go_on.wait(30)
        raise StateError("it ends here")

    monkeypatch.setattr(launch, "start_detached", start)
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        await ask(pilot, plan_of())
        await pilot.press("y")
        await until(pilot, lambda: "50 %" in text(pilot))
        assert seen.is_set()
        assert "data to s3://[b]/x: 1.00 GiB of 2.00 GiB  50 %  64.0 MiB/s  16 s left" in text(pilot)
        go_on.set()
        await settled(pilot)
        assert "it ends here" in text(pilot)


async def test_a_plan_that_the_cap_does_not_hold_cannot_be_launched(tmp_path: Path, starts: Starts) -> None:
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        dialog = await ask(pilot, plan_of(cap="0.01"))
        assert "it cannot be launched" in text(pilot)
        assert "over the cap of $0.01" in str(dialog.query_one("#told", Static).render())
        await pilot.press("y")
        await settled(pilot)
    assert starts.caps == []
