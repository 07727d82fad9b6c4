"""Attempts of a launch that had a machine: it is asked for until the end, billed, and leaves less of the cap."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import NothingFitsError
from manager.launch import sky_answers
from manager.launch.engine import LaunchRequest
from manager.launch.inventory import Found, Rented, RentedKind
from manager.launch.sky_attempt import Attempt, begin_attempt, end_attempt, read_attempt
from manager.prices.ask_in_time import Answer
from manager.reports.build import build_report
from manager.reports.wording import bill_sentence
from manager.runs.charges import charge, given_back_usd
from manager.runs.ledger import Ledger
from manager.runs.projection import project_usd
from manager.runs.records import LAUNCH_ATTEMPT, RunEvents
from manager.runs.states import RunState
from manager.runs.supervise import RunOrder, supervise
from manager.runs.updates import ChargeUpdate, Update
from manager.units import Interval
from tasks.job import parse_job
from tests.support.sky_stage import LAUNCHED, NO_CLUSTER, NOBODY_ASKED, Stage, offer
from tests.unit.runs.samples import plan
from tests.unit.runs.supervising_client import FAST

EAST, WEST = "us-east-1", "us-west-2"
GONE: dict[str, Any] = {"cluster": None, "launches": [], "provider": "lambda", "instances": {}}
ON_LAMBDA: dict[str, Any] = {"name": "lambda", "name_on_cloud": "tf", "config": {}}
TIMED_OUT: dict[str, Any] = {"hang": True}


class Aws:
    """An AWS account with these things of the run."""

    cloud = "aws"

    def __init__(self, *items: Rented) -> None:
        self.items = items
        self.asked: list[tuple[str, ...]] = []

    def regions(self) -> Answer[list[str]]:
        return Answer(value=[EAST, WEST])

    def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
        self.asked.append(tuple(regions))
        return Found(items=tuple(item for item in self.items if item.region in self.asked[-1]))

    def remove(self, item: Rented) -> None:
        """It is asked for, and stays."""


LEFT = Rented(
    kind=RentedKind.INSTANCE,
    cloud="aws",
    region=EAST,
    id="i-1",
    name="g5.xlarge",
    state="running",
    run_id="demo-1",
    created_at_s=None,
    usd_per_month=None,
    remove_command="aws ...",
)


@pytest.fixture(autouse=True)
def _no_least_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_answers, "MIN_CLOUD_LAUNCH_S", 0.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, aws=Aws())
    yield made
    made.engine.close()


def facts(provider: dict[str, Any] | None) -> dict[str, Any]:
    return {"result": {"existed": True, "provider": provider}}


def there(*states: str) -> list[dict[str, Any]]:
    return [{"result": {"states": list(states)}}]


def two_offers(stage: Stage, **changes: Any) -> LaunchRequest:
    first = offer("gpu_1x_a10", "3.60", cloud="lambda", region="us-south-1")
    return stage.request(first, offer("g6.xlarge", "0.80", cloud="aws", region=EAST), launch_timeout_s=2.0, **changes)


def supervised(stage: Stage, request: LaunchRequest) -> RunEvents:
    """A run to its end, at whose launch the engine's clock goes on by 100 s with each look; it ends at 1400 s."""
    ticks = itertools.count(1000.0, 100.0)
    stage.engine._clock = lambda: next(ticks)
    with Ledger.open(stage.folder / "ledger.sqlite3") as ledger:
        order = RunOrder(request=request, plan=plan(), cap_usd=None)
        supervise(order, stage.engine, ledger, lambda: 1400.0, lambda update: None, FAST)
        return ledger.run_events("demo-1")


def test_a_fall_back_that_is_refused_does_not_hide_the_machine_before_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, aws=Aws(LEFT))
    stage.play(
        launch=[TIMED_OUT, {"error": ["PriceMovedError", "dearer"]}],
        provider=[facts(None), {"result": NO_CLUSTER}],
        down=[{"result": {"existed": True}}, {"result": {"existed": False}}],
        evidence=[{"result": NOBODY_ASKED}],
    )
    first = offer("g5.xlarge", cloud="aws", region=EAST)
    request = stage.request(first, offer("g6.xlarge", cloud="aws", region=WEST), launch_timeout_s=2.0)
    handle = stage.engine.reserve(request)
    with pytest.raises(NothingFitsError):
        stage.engine.submit(request, handle)
    stage.engine.down(handle)
    evidence = stage.engine.evidence(handle)
    stage.engine.close()
    assert not evidence.confirmed
    assert any("i-1" in left for left in evidence.left)


@pytest.mark.parametrize(
    ("known", "answer", "confirmed", "word"),
    [
        (ON_LAMBDA, GONE, True, "lambda, asked of an earlier attempt, reports none"),
        (ON_LAMBDA, {**GONE, "instances": {"vm-7": "UP"}}, False, "reports 1 instance"),
        (None, GONE, False, "the provider of an earlier attempt could not be asked"),
    ],
)
def test_each_provider_is_asked_about_its_own_attempt(
    stage: Stage, known: dict[str, Any] | None, answer: dict[str, Any], confirmed: bool, word: str
) -> None:
    on_aws = {"name": "aws", "name_on_cloud": "tf", "config": {"region": EAST}}
    stage.play(
        launch=[TIMED_OUT, {"result": {**LAUNCHED, "provider": on_aws}}],
        provider=[facts(known)],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": {**GONE, "provider": "aws"}}, {"result": answer}],
    )
    request = two_offers(stage)
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    stage.engine.down(handle)
    evidence = stage.engine.evidence(handle)
    assert evidence.confirmed is confirmed
    assert word in evidence.answer
    assert ("vm-7 (UP)" in evidence.left) == ("vm-7" in answer["instances"] and known is not None)
    asked = [call[1].get("provider") for call in stage.calls("evidence")]
    assert asked == [on_aws, *([ON_LAMBDA] if known else [])]


def test_attempts_are_kept_until_they_are_known_to_have_come_to_nothing(tmp_path: Path) -> None:
    for cloud, region in (("lambda", "us-south-1"), ("aws", EAST), ("aws", WEST)):
        begin_attempt(tmp_path, offer("m", cloud=cloud, region=region))
    end_attempt(tmp_path)
    known = read_attempt(tmp_path)
    assert known is not None
    assert [(one.cloud, one.region) for one in known.all] == [("lambda", "us-south-1"), ("aws", EAST)]
    end_attempt(tmp_path)
    assert read_attempt(tmp_path) == Attempt(cloud="lambda", region="us-south-1", provider=None)
    end_attempt(tmp_path)
    assert read_attempt(tmp_path) is None


@pytest.mark.parametrize(
    ("cloud", "states", "is_billed"),
    [
        ("aws", ["UP"], True),
        ("aws", ["INIT"], True),
        ("aws", [], False),
        ("slurm", ["INIT"], False),
        ("kubernetes", ["INIT"], False),
        ("aws", None, True),
    ],
)
def test_a_machine_that_did_not_come_up_in_time_is_billed(
    tmp_path: Path, cloud: str, states: list[str] | None, is_billed: bool
) -> None:
    stage = Stage(tmp_path, aws=Aws())
    ticks = itertools.count(1000.0, 100.0)
    stage.engine._clock = lambda: next(ticks)
    told = [{"error": ["ConnectionError", "refused"]}] if states is None else there(*states)
    stage.play(launch=[TIMED_OUT], provider=[facts(ON_LAMBDA)], states=told, evidence=[{"result": GONE}])
    request = stage.request(offer("big", "36", cloud=cloud, region=EAST), launch_timeout_s=1.0)
    with Ledger.open(tmp_path / "ledger.sqlite3") as ledger:
        order = RunOrder(request=request, plan=plan(), cap_usd=None)
        supervise(order, stage.engine, ledger, lambda: 2000.0, lambda update: None, FAST)
        run = ledger.run("demo-1")
    stage.engine.close()
    assert run.state is RunState.NO_CAPACITY
    assert [one.what for one in run.charges] == [LAUNCH_ATTEMPT] * is_billed
    assert run.cost_usd == (Decimal(1) if is_billed else Decimal(0))


def test_the_bill_of_a_fall_back_has_the_machine_before_it(stage: Stage) -> None:
    stage.play(
        launch=[TIMED_OUT, {"result": {**LAUNCHED, "price_usd_per_hour": 0.8}}],
        provider=[facts(ON_LAMBDA)],
        states=there("UP"),
        evidence=[{"result": GONE}],
    )
    run = supervised(stage, two_offers(stage)).record
    before, between, *own = run.charges
    assert (before.what, before.from_s, before.to_s, before.amount_usd) == (
        LAUNCH_ATTEMPT,
        1000.0,
        1100.0,
        Decimal("0.1"),
    )
    assert (between.to_s, between.amount_usd) == (1200.0, Decimal(0))
    assert run.billing_started_at_s == 1200.0
    assert own[0].from_s == 1200.0
    assert run.cost_usd == Decimal("0.1") + sum((one.amount_usd or Decimal(0) for one in own), Decimal(0))


@pytest.mark.parametrize(("cap", "left"), [(4.0, 3.9), (0.05, None)])
def test_it_leaves_less_of_the_cap(stage: Stage, cap: float, left: float | None) -> None:
    stage.play(
        launch=[TIMED_OUT, {"result": LAUNCHED}],
        provider=[facts(ON_LAMBDA)],
        states=there("UP"),
        evidence=[{"result": GONE}],
    )
    ticks = itertools.count(1000.0, 100.0)
    stage.engine._clock = lambda: next(ticks)
    request = two_offers(stage)
    guard = replace(request.job.guard, max_usd=cap)
    request = replace(request, job=replace(request.job, guard=guard))
    handle = stage.engine.reserve(request)
    if left is None:
        with pytest.raises(NothingFitsError, match="left nothing of the cap"):
            stage.engine.submit(request, handle)
        assert len(stage.calls("launch")) == 1
        return
    stage.engine.submit(request, handle)
    (file,) = stage.folder.rglob("upload/**/job.json")
    assert parse_job(file.read_text()).guard.max_usd == pytest.approx(left)


def test_an_earlier_provider_that_is_silent_does_not_hide_what_skypilot_says(stage: Stage) -> None:
    stage.play(
        launch=[TIMED_OUT, {"result": LAUNCHED}],
        provider=[facts(ON_LAMBDA)],
        evidence=[
            {"result": {"cluster": "UP", "launches": [], "provider": "slurm", "instances": {"node-7": "UP"}}},
            {"error": ["ConnectionError", "key expired"]},
        ],
    )
    request = two_offers(stage)
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    evidence = stage.engine.evidence(handle)
    assert not evidence.confirmed
    assert evidence.left == ("tf-demo-1 (UP)", "node-7 (UP)")


def test_two_partitions_of_one_cluster_are_asked_about_once(stage: Stage) -> None:
    on_slurm = {"name": "slurm", "name_on_cloud": "tf", "config": {"cluster": "lab"}}
    stage.play(
        launch=[TIMED_OUT, {"result": {**LAUNCHED, "provider": on_slurm}}],
        provider=[facts(on_slurm)],
        evidence=[{"result": {**GONE, "provider": "slurm", "instances": {"7": "UP"}}}],
    )
    request = stage.request(offer("a100b"), offer("a100"), launch_timeout_s=2.0)
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    assert stage.engine.evidence(handle).left == ("7 (UP)",)
    assert len(stage.calls("evidence")) == 1


def test_an_error_after_a_machine_that_was_given_back_leaves_it_on_the_bill(stage: Stage) -> None:
    stage.play(
        launch=[TIMED_OUT, {"error": ["SomethingElse", "boom"]}],
        provider=[facts(ON_LAMBDA)],
        states=there("UP"),
        evidence=[{"result": GONE}],
    )
    run = supervised(stage, two_offers(stage)).record
    first, between, second = run.charges
    assert (first.to_s, first.amount_usd) == (1100.0, Decimal("0.1"))
    assert (between.to_s, between.amount_usd) == (1200.0, Decimal(0))
    assert (second.what, second.to_s, second.price_usd_per_hour) == (LAUNCH_ATTEMPT, 1300.0, Decimal("0.80"))
    assert run.cost_usd == Decimal("0.1") + (second.amount_usd or 0)


def test_an_error_while_it_is_billed_loses_nothing_of_the_bill(stage: Stage, tmp_path: Path) -> None:
    stage.play(
        launch=[TIMED_OUT, {"result": LAUNCHED}],
        provider=[facts(ON_LAMBDA)],
        states=there("UP"),
        evidence=[{"result": GONE}],
    )
    ticks = itertools.count(1000.0, 100.0)
    stage.engine._clock = lambda: next(ticks)
    charges: list[Update] = []

    def tell(update: Update) -> None:
        if isinstance(update, ChargeUpdate):
            charges.append(update)
            if len(charges) == 1:
                raise RuntimeError("the listener broke")

    with Ledger.open(tmp_path / "ledger.sqlite3") as ledger:
        order = RunOrder(request=two_offers(stage), plan=plan(), cap_usd=None)
        with pytest.raises(RuntimeError):
            supervise(order, stage.engine, ledger, lambda: 1400.0, tell, FAST)
        run = ledger.run("demo-1")
    assert run.charges[0].to_s == 1100.0
    assert run.charges[-1].to_s == 1400.0
    assert run.cost_usd is None


def test_a_projection_has_what_was_given_back() -> None:
    first = charge(from_s=0.0, to_s=3600.0, price_usd_per_hour=Decimal(1), at_s=0.0, what=LAUNCH_ATTEMPT)
    own = charge(from_s=3600.0, to_s=7200.0, price_usd_per_hour=Decimal(5), at_s=0.0)
    assert given_back_usd([first, own]) == Decimal(1)
    projected = project_usd(
        Interval(low=1.0, expected=2.0, high=3.0), Decimal(5), before_usd=given_back_usd([first, own])
    )
    assert projected is not None
    assert (projected.low, projected.high) == (Decimal(6), Decimal(16))


def test_the_report_counts_the_jobs_own_time_and_says_what_else_was_billed(stage: Stage) -> None:
    stage.play(
        launch=[TIMED_OUT, {"result": {**LAUNCHED, "price_usd_per_hour": 0.8}}],
        provider=[facts(ON_LAMBDA)],
        states=there("UP"),
        evidence=[{"result": GONE}],
    )
    report = build_report(supervised(stage, two_offers(stage)))
    assert report.billed_s == 200.0
    assert bill_sentence(report).endswith("$0.1444 with machines of another price and those that the launch gave back")
