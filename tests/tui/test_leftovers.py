"""Leftovers in the terminal UI: dollars a month, machines without a run first, removal only when asked for twice."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.launch.engine import Evidence
from manager.launch.inventory import Rented, RentedKind
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.leftover_ends import Removal
from manager.service.leftovers_report import Leftover, Leftovers, Standing, urgency
from tests.support.tui_stage import SIZES, assert_snapshot, press, running, settled, shown, tui_context
from tui.app import TunefareApp
from tui.screens import leftovers
from tui.screens.leftovers import LeftoversScreen

DISK = Leftover(
    rented=Rented(
        kind=RentedKind.VOLUME,
        cloud="aws",
        region="us-east-1",
        id="vol-0abc",
        name="100 GiB gp3",
        state="available",
        run_id="bbc-20260101-aaaa",
        created_at_s=None,
        usd_per_month=Decimal("8.00"),
        remove_command="aws ec2 delete-volume --region us-east-1 --volume-id vol-0abc",
    ),
    standing=Standing.ORPHAN,
    run_state=RunState.SUCCEEDED,
)
MACHINE = Leftover(
    rented=replace(
        DISK.rented, kind=RentedKind.INSTANCE, id="i-0def", name="g5.xlarge", state="running", usd_per_month=None
    ),
    standing=Standing.UNKNOWN_RUN,
    run_state=None,
)
FOREIGN = Leftover(
    rented=replace(DISK.rented, id="vol-0foe", user="bob", usd_per_month=Decimal("1.50")),
    standing=Standing.FOREIGN,
    run_state=None,
)


class Provider:
    """Has things, and removes those that the test lets go."""

    def __init__(self, *items: Leftover) -> None:
        self.items = list(items)
        self.removed: list[str] = []
        self.refuses = False

    def find(self, context: Context) -> Leftovers:
        return Leftovers(
            items=tuple(sorted(self.items, key=urgency)),
            asked=("aws",),
            not_asked={"skypilot": "no run was launched through it"},
            silent={"aws eu-west-1": "no answer within 60 s"},
            silent_of_runs=(),
            prices_as_of="2026-10-01",
        )

    def remove(self, context: Context, item: Leftover) -> Removal:
        self.removed.append(item.rented.id)
        if not self.refuses:
            self.items.remove(item)
        told = "aws us-east-1 still has it" if self.refuses else "aws has it no more, or is removing it"
        evidence = Evidence(confirmed=not self.refuses, asked_at_s=1.0, source="aws", answer=told, left=())
        commands = (item.rented.remove_command,) if self.refuses else ()
        return Removal(leftover=item, is_gone=not self.refuses, told=told, commands=commands, evidence=evidence)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    played = Provider(FOREIGN, DISK, MACHINE)
    monkeypatch.setattr(leftovers, "find_leftovers", played.find)
    monkeypatch.setattr(leftovers, "remove_leftover", played.remove)
    return played


@pytest.mark.parametrize("size", SIZES)
async def test_a_machine_without_a_run_is_first_and_dollars_are_never_cut(
    tmp_path: Path, provider: Provider, size: tuple[int, int]
) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, size) as pilot:
        await app.action_show("run")
        # The screen behind is part of the picture.
        await settled(pilot)
        await press(pilot, "f6")
        told = shown(pilot)
        flat = " ".join(told.split())
        assert "Leftovers: 3 things, $9.50/month and 1 of unknown price" in flat
        assert "1 machine WITHOUT A RUN, which ARE BILLED" in flat.replace("│ │ ", "")
        assert told.index("instance: g5.xlarge") < told.index("volume: 100 GiB gp3")
        assert "$8.00" in told
        assert "no answer from aws eu-west-1" in told
        assert_snapshot(app, f"leftovers-{size[0]}x{size[1]}-dark")


async def test_nothing_is_removed_before_the_second_key(tmp_path: Path, provider: Provider) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await press(pilot, "f6", "j", "delete")
        assert "vol-0abc is removed FOR GOOD: the same key again does it" in shown(pilot)
        await press(pilot, "escape")
        assert isinstance(app.screen, LeftoversScreen)
        assert "nothing was removed" in shown(pilot)
        await press(pilot, "delete", "k", "j", "delete")
        assert provider.removed == []
        await press(pilot, "delete")
        assert provider.removed == ["vol-0abc"]
        assert "vol-0abc: GONE" in shown(pilot)
        assert "volume: 100 GiB gp3" in shown(pilot)
        assert "Leftovers: 2 things" in shown(pilot)
        await press(pilot, "escape")
        assert not isinstance(app.screen, LeftoversScreen)


async def test_what_is_another_users_is_not_touched(tmp_path: Path, provider: Provider) -> None:
    provider.items = [FOREIGN]
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await press(pilot, "f6", "delete", "delete")
        assert "it is not touched" in " ".join(shown(pilot).split())
        await press(pilot, "c")
        assert app.clipboard == FOREIGN.rented.remove_command
    assert provider.removed == []


async def test_a_removal_that_is_not_confirmed_says_what_to_type(tmp_path: Path, provider: Provider) -> None:
    provider.items, provider.refuses = [DISK], True
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await press(pilot, "f6", "delete", "delete")
        flat = " ".join(shown(pilot).split())
        assert "vol-0abc: NOT CONFIRMED, MAY STILL BE BILLED" in flat
        assert "aws ec2 delete-volume" in flat


async def test_the_palette_finds_it(tmp_path: Path, provider: Provider) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await press(pilot, "ctrl+p")
        await pilot.press(*"still bill")
        await settled(pilot)
        await press(pilot, "down", "enter")
        assert isinstance(app.screen, LeftoversScreen)
