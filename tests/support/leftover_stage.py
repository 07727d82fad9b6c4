"""Runs of a ledger that were on AWS, and who is asked about what they left: SkyPilot and buckets are played."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from manager.launch.aws_inventory import AwsInventory
from manager.launch.inventory import AskedInventory, Found, Rented
from manager.launch.sky_attempt import begin_attempt
from manager.prices.ask_in_time import Answer
from manager.prices.offer import Offer
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.leftovers import Askers
from tests.support.sky_stage import offer
from tests.unit.runs.samples import plan

EAST = "us-east-1"
OVER, LIVING, LOST = "over-1", "living-1", "lost-1"
HASH = "0a1b2c3d"
G5 = offer("g5.xlarge", "1.00", cloud="aws", region=EAST)


def keep(context: Context, run_id: str, *states: RunState, taken: Offer = G5) -> None:
    """A run of the ledger in the last of these states, tried on AWS."""
    chosen = plan()
    estimate = replace(chosen.offers[0], offer=taken)
    run_dir = context.home.runs_dir / run_id
    begin_attempt(run_dir, taken)
    with open_ledger(context) as ledger:
        ledger.create_run(run_id, replace(chosen, offers=(estimate,)), run_dir, "sky", None, 1.0)
        for state in states:
            ledger.transition(run_id, state, 2.0)


def know_user(context: Context) -> None:
    """SkyPilot was used here before: this user's machines can be told from others'."""
    (context.user_home / ".sky").mkdir()
    (context.user_home / ".sky" / "user_hash").write_text(HASH)


def over(context: Context) -> None:
    keep(context, OVER, RunState.LAUNCHING, RunState.TEARING_DOWN, RunState.SUCCEEDED)


class EastAws(AwsInventory):
    """An account with one region, which saves seconds."""

    def regions(self) -> Answer[list[str]]:
        return Answer(value=[EAST])


@dataclass
class Played:
    """SkyPilot and buckets with what they have."""

    clusters: list[Rented] = field(default_factory=list)
    folders: list[Rented] = field(default_factory=list)
    aws: AskedInventory = field(default_factory=EastAws)

    def askers(self) -> Askers:
        return Askers(
            aws=self.aws,
            clusters=lambda: Found(items=tuple(self.clusters)),
            folders=lambda uris, run_ids: Found(items=tuple(self.folders)),
            remove_folder=lambda item: self.folders.remove(item),
        )
