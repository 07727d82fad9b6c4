"""What is rented at a provider under this product's tag, and how a place is asked for it.

Owns the tag's name and the values that every inventory answers with. A place that does not answer is told as silent,
never as empty. Nothing without the tag is ever in an answer, so that nothing of other people or tools can be removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, runtime_checkable

from manager.prices.ask_in_time import Answer

RUN_TAG = "tunefare-run"
"""On everything that a run rents; its value is the run's id (`manager.launch.sky_resources`)."""
CLUSTER_TAG = "ray-cluster-name"
"""SkyPilot's own on machines and disks (sky/provision/constants.py): cluster and hash of the SkyPilot user."""
USER_TAG = "skypilot-user"
"""SkyPilot's own: name of the user who launched."""


class RentedKind(StrEnum):
    """What a provider bills for."""

    INSTANCE = "instance"
    VOLUME = "volume"
    ADDRESS = "address"
    SPOT_REQUEST = "spot_request"
    """Costs nothing itself, but may bring a machine."""
    FOLDER = "folder"
    """Of one run, in a bucket of the user's."""
    DATA = "data"
    """A data set that was staged once for any number of runs, in a bucket of the user's."""
    CLUSTER = "cluster"
    """In SkyPilot's table, whatever the provider says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rented:
    """One thing that is there."""

    kind: RentedKind
    cloud: str
    region: str | None
    """None: it has none, or nobody said."""
    id: str
    """The provider's: what a removal names."""
    name: str
    """What it is in few words: `g5.xlarge, spot`, `100 GiB gp3`."""
    state: str
    """In the provider's words."""
    run_id: str | None
    """Value of the tag; None: the tag is empty, or nobody knows the run."""
    created_at_s: float | None
    """Unix time; None: the provider does not say."""
    usd_per_month: Decimal | None
    """While it stays as it is; None: unknown."""
    remove_command: str
    """The provider's own command, for the user to type."""
    is_going: bool = False
    """Whether the provider is removing it already: it is billed no more, or goes with a machine that is."""
    user: str | None = None
    """Who launched it, by SkyPilot's tag; None: it does not say."""
    cluster: str | None = None
    """Name of the cluster at the provider, by SkyPilot's tag; None: it does not say."""
    size_gib: Decimal | None = None
    """Of a disk or of all objects; None: has none, or unknown."""

    @property
    def run_told(self) -> str:
        """The run, for people."""
        return self.run_id or "an unknown run"

    @property
    def place(self) -> str:
        """`aws us-east-1`."""
        return self.cloud if self.region is None else f"{self.cloud} {self.region}"

    @property
    def told(self) -> str:
        """`aws us-east-1 i-0abc (running)`: as evidence says what is left; `left_command` reads it again."""
        return f"{self.place} {self.id} ({self.state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer of one or several places."""

    items: tuple[Rented, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    """Place, or place and kind of thing (`aws us-east-1 addresses`) -> why it did not answer; empty: all did."""

    @property
    def left(self) -> tuple[Rented, ...]:
        """What is not being removed already."""
        return tuple(item for item in self.items if not item.is_going)


class Inventory(Protocol):
    """One provider."""

    cloud: str

    def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
        """Everything under the tag, or under that of one run; regions that do not answer are silent, never an error."""
        ...

    def remove(self, item: Rented) -> None:
        """Ask for the end of one thing; one that is gone already is success.

        Raises:
            EngineError: the provider refused or did not answer in time.
        """
        ...


class AskedInventory(Inventory, Protocol):
    """A provider that has regions to be asked about."""

    def regions(self) -> Answer[list[str]]:
        """Regions that are enabled for the account, or why nobody knows."""
        ...


@runtime_checkable
class TellsEnds(Protocol):
    """A provider that knows when a machine of the past ended."""

    def ended_at_s(self, regions: Iterable[str], *, run_id: str) -> float | None:
        """Unix time at which the last machine of a run ended; None: one is there, or it is not known."""
        ...


def join(answers: Iterable[Found]) -> Found:
    """Several answers as one."""
    items: list[Rented] = []
    silent: dict[str, str] = {}
    for answer in answers:
        items += answer.items
        silent.update(answer.silent)
    return Found(items=tuple(items), silent=silent)
