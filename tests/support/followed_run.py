"""A run in a ledger of a test, written step by step as its supervision would, at times of the test's choosing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import LOG_FILE, Evidence, Handle, Launched
from manager.planner.plan import Plan
from manager.runs.charges import charge
from manager.runs.clients import Client, this_client
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.service.context import Context
from tasks.protocol import EVENT_PREFIX, Event
from tests.support.contexts import make_context
from tests.support.report_factory import T0, make_offer, make_plan, make_spec

RUN_ID = "bbc-news-minilm-0921-1433"
BILLED_FROM = T0 + 5


@dataclass
class Clock:
    """Unix time in seconds, moved by hand."""

    now_s: float = T0

    def __call__(self) -> float:
        return self.now_s


@dataclass(kw_only=True)
class FollowedRun:
    """Writes a run's rows and log; `context` reads them."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    cap_usd: Decimal | None = Decimal("2")
    price: str | None = "0.8048"
    run_id: str = RUN_ID
    plan: Plan | None = None

    def __post_init__(self) -> None:
        self.context: Context = make_context(self.folder, self.clock)
        self.offer = make_offer(price=self.price)
        self.run_dir = self.context.home.runs_dir / self.run_id
        self.run_dir.mkdir(parents=True)
        self._seq = 0
        self._billed_to_s = BILLED_FROM
        plan = self.plan or make_plan(offer=self.offer, spec=make_spec())
        with self._ledger() as ledger:
            ledger.create_run(self.run_id, plan, self.run_dir, "sky", self.cap_usd, T0, this_client(T0))

    def launch(self) -> None:
        """On its way to a machine since two seconds after its creation."""
        with self._ledger() as ledger:
            ledger.transition(self.run_id, RunState.LAUNCHING, T0 + 2)

    def run(self) -> None:
        """On its machine, which is billed from `BILLED_FROM` and ran 165 s after the creation."""
        self.launch()
        handle = Handle(engine="sky", run_dir=str(self.run_dir), name="tf-1", details={})
        launched = Launched(
            handle=handle, offer=self.offer, billing_started_at_s=BILLED_FROM, failed_attempts=("aws us-west-2: none",)
        )
        with self._ledger() as ledger:
            ledger.store_launched(self.run_id, launched, T0 + 165)
            ledger.transition(self.run_id, RunState.RUNNING, T0 + 165)

    def say(self, events: Iterable[Event]) -> None:
        """Events that the task wrote; the clock goes with them."""
        new = list(events)
        with self._ledger() as ledger:
            ledger.append_events(self.run_id, new)
        self.clock.now_s = max(self.clock.now_s, new[-1].time_s)

    def charge_to(self, to_s: float) -> None:
        """A billed stretch since the last one."""
        stretch = charge(
            from_s=self._billed_to_s, to_s=to_s, price_usd_per_hour=self.offer.price_usd_per_hour, at_s=to_s
        )
        with self._ledger() as ledger:
            ledger.add_charge(self.run_id, stretch)
        self._billed_to_s = to_s

    def enter(self, state: RunState, at_s: float, detail: str | None = None) -> None:
        """A state; the clock goes with it."""
        with self._ledger() as ledger:
            ledger.transition(self.run_id, state, at_s, detail)
        self.clock.now_s = max(self.clock.now_s, at_s)

    def answer(self, *, confirmed: bool, at_s: float) -> None:
        """What the provider says."""
        evidence = Evidence(
            confirmed=confirmed,
            asked_at_s=at_s,
            source="SkyPilot status, forced refresh",
            answer="no cluster of this name" if confirmed else "the provider did not answer within 60 s",
            left=() if confirmed else ("tf-bbc-news-minilm",),
        )
        with self._ledger() as ledger:
            ledger.add_evidence(self.run_id, evidence)

    def lose_client(self) -> None:
        """The process at home is gone."""
        gone = Client(row_id=None, at_s=T0, host=this_client(T0).host, pid=0, created_at_s=0.0)
        with self._ledger() as ledger:
            assert ledger.claim(self.run_id, gone, instead_of=ledger.client(self.run_id))

    def print_lines(self, *lines: str, events: Iterable[Event] = ()) -> None:
        """Lines of the log, and events as the stream carries them."""
        with (self.run_dir / LOG_FILE).open("a", encoding="utf-8") as log:
            log.writelines(f"{EVENT_PREFIX}{event.to_line()}\n" for event in events)
            log.writelines(f"{line}\n" for line in lines)

    def _ledger(self) -> Ledger:
        return Ledger.open(self.context.home.ledger_file)
