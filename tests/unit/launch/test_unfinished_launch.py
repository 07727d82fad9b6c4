"""A launch whose client died, or whose API server did: its machine is billed at its price, its events come home."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError
from manager.launch import sky_attempt
from manager.launch.inventory import Found
from manager.launch.sky_attempt import (
    ATTEMPT_FILE,
    Attempt,
    asked_for,
    begin_attempt,
    close_attempt,
    keep_provider,
    read_attempt,
)
from manager.launch.sky_down import DOWN_ATTEMPTS
from manager.launch.sky_evidence import earlier_questions
from manager.launch.sky_worker import SkyPilotError
from manager.prices.offer import Offer
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from manager.runs.records import LAUNCH_ATTEMPT, RunRecord
from manager.runs.states import RunState
from manager.runs.supervise import RunOrder, supervise
from tasks.protocol import EVENTS_FILE, EventType
from tests.support.sky_stage import NO_CLUSTER, NOBODY_ASKED, SilentAws, Stage, event_line, offer
from tests.unit.runs.samples import plan
from tests.unit.runs.supervising_client import FAST

ON_LAMBDA: dict[str, Any] = {"name": "lambda", "name_on_cloud": "tf", "config": {}}
KNOWN: dict[str, Any] = {"existed": True, "provider": ON_LAMBDA}
UP: dict[str, Any] = {"cluster": None, "launches": [], "provider": "lambda", "instances": {"vm-7": "UP"}}
BEGUN_S, NOW_S = 1000.0, 1360.0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def play_machine(stage: Stage) -> None:
    """One that is up until it is taken down."""
    stage.play(
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": ["UP"]}}],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": UP}, {"result": {**UP, "instances": {}}}],
    )


def play_nothing(stage: Stage) -> None:
    stage.play(
        provider=[{"result": NO_CLUSTER}], down=[{"result": {"existed": False}}], evidence=[{"result": NOBODY_ASKED}]
    )


def on_lambda(price: str | None = "3.60") -> Offer:
    return offer("gpu_1x_a10", price, cloud="lambda", region="us-south-1")


def reconciled(stage: Stage, *offers: Offer) -> RunRecord:
    """The run of a client that died in its last launch of these, one every 60 s."""
    stage.engine._clock = lambda: NOW_S
    handle = stage.engine.reserve(stage.request(*offers))
    with Ledger.open(stage.folder / "ledger.sqlite3") as ledger:
        ledger.create_run("demo-1", plan(), Path(handle.run_dir), "sky", None, BEGUN_S)
        ledger.store_handle("demo-1", handle, BEGUN_S)
        ledger.transition("demo-1", RunState.LAUNCHING, BEGUN_S)
        for number, one in enumerate(offers):
            begin_attempt(Path(handle.run_dir), one, at_s=BEGUN_S + 60 * number)
        (found,) = reconcile(ledger, {"sky": stage.engine}, lambda: NOW_S, lambda update: None, settings=FAST)
        assert found.error is None
        stage.engine.close()
        return ledger.run("demo-1")


def reconciled_again(stage: Stage, later_s: float) -> RunRecord:
    stage.engine._clock = lambda: later_s
    with Ledger.open(stage.folder / "ledger.sqlite3") as ledger:
        reconcile(ledger, {"sky": stage.engine}, lambda: later_s, lambda update: None, settings=FAST)
        stage.engine.close()
        return ledger.run("demo-1")


def test_the_machine_of_a_launch_without_its_client_is_billed_at_its_price(stage: Stage) -> None:
    play_machine(stage)
    run = reconciled(stage, on_lambda())
    (charge,) = run.charges
    assert (charge.what, charge.from_s, charge.to_s) == (LAUNCH_ATTEMPT, BEGUN_S, NOW_S)
    assert run.cost_usd == Decimal("0.36")


def test_a_launch_that_came_to_no_machine_costs_nothing(stage: Stage) -> None:
    play_nothing(stage)
    run = reconciled(stage, on_lambda())
    assert run.cost_usd == Decimal(0)
    assert not [charge for charge in run.charges if charge.what == LAUNCH_ATTEMPT]


def test_an_account_that_is_silent_may_have_a_machine_that_skypilot_has_lost(stage: Stage) -> None:
    assert isinstance(stage.engine._aws, SilentAws)
    play_nothing(stage)
    run = reconciled(stage, offer("g6.xlarge", "3.60", cloud="aws", region="us-east-1"))
    assert run.cost_usd == Decimal("0.36")


def test_a_machine_that_wrote_events_was_there_whatever_skypilot_knows_by_now(stage: Stage) -> None:
    play_nothing(stage)
    (stage.folder / "run").mkdir()
    (stage.folder / "run" / EVENTS_FILE).write_text(event_line(0, EventType.PHASE, at_s=BEGUN_S + 90) + "\n")
    # Nobody can say that it is gone, so that it is billed until now.
    assert reconciled(stage, on_lambda()).cost_usd == Decimal("0.36")


def test_a_machine_that_its_provider_has_no_more_may_have_ended_by_itself(stage: Stage) -> None:
    stage.play(
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": []}}],
        down=[{"result": {"existed": True}}],
        evidence=[{"error": ["ConnectionError", "no answer"]}, {"result": {**UP, "instances": {}}}],
    )
    assert reconciled(stage, on_lambda()).cost_usd == Decimal("0.36")


def test_each_attempt_is_billed_at_its_own_price(stage: Stage) -> None:
    play_machine(stage)
    run = reconciled(stage, on_lambda("3.60"), on_lambda("7.20"))
    # Of the first nobody knows when it was given back: until the second was asked for at the latest.
    assert run.cost_usd == Decimal("0.06") + Decimal("0.60")


def test_of_an_unknown_price_the_cost_is_unknown(stage: Stage) -> None:
    play_machine(stage)
    assert reconciled(stage, on_lambda(None)).cost_usd is None


def test_a_machine_that_is_left_is_billed_on_whatever_skypilot_said_of_its_end(stage: Stage) -> None:
    stage.play(
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": ["UP"]}}],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": UP}],
    )
    run = reconciled(stage, on_lambda())
    assert run.state is RunState.UNCONFIRMED
    assert reconciled_again(stage, NOW_S + 36_000).cost_usd == Decimal("36.36")


def test_a_machine_that_turns_up_after_its_launch_was_closed_is_billed_from_its_request(stage: Stage) -> None:
    """The server's side of a launch outlived its client, and nobody could be asked at the first look."""
    stage.play(
        provider=[{"result": NO_CLUSTER}],
        down=[{"result": {"existed": False}}],
        evidence=[
            *[{"error": ["ConnectionError", "no answer"]}] * (FAST.evidence_attempts + 1),
            *[{"result": UP}] * FAST.evidence_attempts,
        ],
    )
    first = reconciled(stage, on_lambda())
    assert first.state is RunState.UNCONFIRMED
    assert not first.cost_usd
    assert reconciled_again(stage, NOW_S + 3600).cost_usd == Decimal("3.96")


def test_an_end_that_was_not_confirmed_at_first_stays_the_end(tmp_path: Path) -> None:
    """What ended itself in the launch is not billed until somebody looked."""
    stage = Stage(tmp_path, aws=EndedOnAws())
    stage.play(
        provider=[{"result": NO_CLUSTER}],
        down=[{"result": {"existed": False}}],
        evidence=[
            *[{"error": ["ConnectionError", "no answer"]}] * (FAST.evidence_attempts + 1),
            {"result": NOBODY_ASKED},
        ],
    )
    run = reconciled(stage, offer("g6.xlarge", "3.60", cloud="aws", region="us-east-1"))
    assert (run.state, run.cost_usd) == (RunState.UNCONFIRMED, Decimal("0.18"))
    assert reconciled_again(stage, NOW_S + 3600).cost_usd == Decimal("0.18")


def test_a_cluster_whose_end_nobody_could_order_was_there_at_the_next_look(stage: Stage) -> None:
    """The order came through after the answer was given up, so that SkyPilot knows of nothing by then."""
    silent = {"error": ["ConnectionError", "no answer"]}
    stage.play(
        provider=[silent, {"result": NO_CLUSTER}],
        down=[*[silent] * DOWN_ATTEMPTS, {"result": {"existed": False}}],
    )
    stage.engine._clock = lambda: NOW_S
    handle = stage.engine.reserve(stage.request(on_lambda()))
    begin_attempt(Path(handle.run_dir), on_lambda(), at_s=BEGUN_S)
    with pytest.raises(EngineError):
        stage.engine.down(handle)
    stage.engine.down(handle)
    stage.engine.close()
    assert machine_s(Path(handle.run_dir)) == NOW_S - BEGUN_S


def test_one_zone_does_not_answer_for_its_region(tmp_path: Path) -> None:
    begin_attempt(tmp_path, offer("g2", cloud="gcp", region="us-central1"), at_s=BEGUN_S)
    keep_provider(tmp_path, {"name": "gcp", "name_on_cloud": "tf", "config": {"availability_zone": "us-central1-a"}})
    begin_attempt(tmp_path, offer("g2", cloud="gcp", region="us-central1"), at_s=BEGUN_S + 60)
    begin_attempt(tmp_path, on_lambda(), at_s=BEGUN_S + 120)
    assert earlier_questions(read_attempt(tmp_path))[-1] is None


def test_a_machine_that_skypilot_knew_once_was_there(stage: Stage) -> None:
    play_nothing(stage)
    stage.engine._clock = lambda: NOW_S
    handle = stage.engine.reserve(stage.request(on_lambda()))
    begin_attempt(Path(handle.run_dir), on_lambda(), at_s=BEGUN_S)
    keep_provider(Path(handle.run_dir), ON_LAMBDA)
    stage.engine.down(handle)
    stage.engine.close()
    assert machine_s(Path(handle.run_dir)) == NOW_S - BEGUN_S


class EndedOnAws(SilentAws):
    """EC2 has no instance of the run any more, and knows when it ended."""

    def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
        return Found()

    def ended_at_s(self, regions: Iterable[str], *, run_id: str) -> float | None:
        return BEGUN_S + 180


def test_an_end_that_ec2_tells_is_the_end_of_a_machine_that_skypilot_has_forgotten(tmp_path: Path) -> None:
    stage = Stage(tmp_path, aws=EndedOnAws())
    play_nothing(stage)
    run = reconciled(stage, offer("g6.xlarge", "3.60", cloud="aws", region="us-east-1"))
    assert run.cost_usd == Decimal("0.18")


def test_a_launch_that_broke_with_a_machine_that_is_gone_by_now_is_billed(stage: Stage) -> None:
    assert broken_launch_s(stage, on_lambda(), states=[]) == 90.0


def test_what_waits_in_a_queue_has_no_node_and_costs_nothing(stage: Stage) -> None:
    assert broken_launch_s(stage, offer("a100"), states=["INIT"]) == 0.0


def test_a_full_disk_does_not_make_a_take_down_fail(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    play_machine(stage)
    handle = stage.engine.reserve(stage.request(on_lambda()))
    begin_attempt(Path(handle.run_dir), on_lambda(), at_s=BEGUN_S)

    def full(run_dir: Path, attempt: Attempt) -> None:
        raise EngineError("no space left on device")

    monkeypatch.setattr(sky_attempt, "_write", full)
    stage.engine.down(handle)
    stage.engine.close()
    assert len(stage.calls("down")) == 1
    # What could not be written stays open: it is billed to the evidence of its end.
    assert machine_s(Path(handle.run_dir)) is None


def test_attempts_at_one_place_are_asked_about_once_by_what_one_of_them_told(tmp_path: Path) -> None:
    for at_s in (BEGUN_S, BEGUN_S + 60):
        begin_attempt(tmp_path, on_lambda(), at_s=at_s)
    keep_provider(tmp_path, ON_LAMBDA)
    assert earlier_questions(read_attempt(tmp_path)) == []
    begin_attempt(tmp_path, offer("h100", cloud="lambda", region="us-west-1"), at_s=BEGUN_S + 90)
    begin_attempt(tmp_path, offer("n1", cloud="gcp", region="us-west1"), at_s=BEGUN_S + 120)
    assert earlier_questions(read_attempt(tmp_path))[-1] is None


def broken_launch_s(stage: Stage, one: Offer, *, states: list[str]) -> float | None:
    """Billed seconds of a launch that breaks 90 s after it was asked for."""
    stage.play(
        launch=[{"error": ["CommandError", "set-up was cut off"]}],
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": states}}],
        down=[{"result": {"existed": True}}],
    )
    request = stage.request(one)
    ticks = itertools.count(BEGUN_S, 90.0)
    stage.engine._clock = lambda: next(ticks)
    with pytest.raises(SkyPilotError):
        stage.engine.submit(request, stage.engine.reserve(request))
    stage.engine.close()
    return machine_s(request.run_dir)


def machine_s(run_dir: Path) -> float | None:
    """Billed seconds of the latest attempt's machine; None: nobody knows of its end."""
    known = read_attempt(run_dir)
    assert known is not None
    assert known.machine is not None
    return None if known.machine.to_s is None else known.machine.to_s - known.machine.from_s


@pytest.mark.parametrize(("gone_s", "seconds"), [(1090.0, 90.0), (None, 0.0), (900.0, 0.0)])
def test_a_closed_attempt_has_its_time(tmp_path: Path, gone_s: float | None, seconds: float) -> None:
    begin_attempt(tmp_path, on_lambda(), at_s=BEGUN_S)
    close_attempt(tmp_path, gone_s=gone_s)
    close_attempt(tmp_path, gone_s=5000.0)
    times = asked_for(tmp_path)
    assert times is not None
    (machine,) = times.machines
    assert times.known_to_s == machine.to_s, "what comes after it is open: it may be opened again"
    assert machine.to_s is not None
    assert machine.to_s - machine.from_s == seconds
    assert machine.price_usd_per_hour == Decimal("3.60")


def test_an_attempt_of_which_no_machine_was_written_down_is_unknown(tmp_path: Path) -> None:
    none = asked_for(tmp_path)
    assert none is not None
    assert none.machines == ()
    begin_attempt(tmp_path, on_lambda(), at_s=BEGUN_S)
    begin_attempt(tmp_path, offer("g6.xlarge", cloud="aws", region="us-east-1"))
    assert asked_for(tmp_path) is None
    file = tmp_path / ATTEMPT_FILE
    file.write_text(file.read_text().replace('"3.60"', '"dear"'))
    known = read_attempt(tmp_path)
    assert known is not None
    assert known.cloud is None
    assert asked_for(tmp_path) is None


def test_what_a_task_wrote_while_skypilot_was_away_is_brought_before_its_machine_goes(stage: Stage) -> None:
    stage.play(
        launch=[{"error": ["ConnectionError", "the API server is gone"]}],
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": ["UP"]}}],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": {**UP, "instances": {}}}],
    )
    stage.machine_file(EVENTS_FILE, "".join(event_line(seq, EventType.PHASE) + "\n" for seq in (0, 1)))
    with Ledger.open(stage.folder / "ledger.sqlite3") as ledger:
        order = RunOrder(request=stage.request(on_lambda()), plan=plan(), cap_usd=None)
        supervise(order, stage.engine, ledger, lambda: NOW_S, lambda update: None, FAST)
        assert [event.seq for event in ledger.events("demo-1")] == [0, 1]
    stage.engine.close()
    asked = [json.loads(line)[0] for line in (stage.folder / "calls.jsonl").read_text().splitlines()]
    assert asked.index("fetch") < asked.index("down")


def test_a_machine_that_a_failed_launch_took_down_is_billed_to_its_end(stage: Stage) -> None:
    stage.play(
        launch=[{"error": ["ConnectionError", "the API server is gone"]}],
        status=[{"result": {"cluster": None, "job": None}}],
        provider=[{"result": KNOWN}],
        states=[{"result": {"states": ["UP"]}}],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": {**UP, "instances": {}}}],
    )
    ticks = itertools.count(BEGUN_S, 90.0)
    stage.engine._clock = lambda: next(ticks)
    with Ledger.open(stage.folder / "ledger.sqlite3") as ledger:
        order = RunOrder(request=stage.request(on_lambda(), on_lambda("9")), plan=plan(), cap_usd=None)
        supervise(order, stage.engine, ledger, itertools.count(BEGUN_S, 1.0).__next__, lambda update: None, FAST)
        run = ledger.run("demo-1")
    stage.engine.close()
    attempts = [charge for charge in run.charges if charge.what == LAUNCH_ATTEMPT]
    assert [charge.to_s for charge in attempts] == [BEGUN_S + 90]
    assert run.cost_usd == sum((charge.amount_usd or Decimal(0) for charge in attempts), Decimal(0)) > Decimal("0.08")


def test_who_interrupts_a_launch_does_not_wait_for_events(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    stage.play(provider=[{"result": KNOWN}], down=[{"result": {"existed": True}}])
    stage.at_launch(monkeypatch, interrupted)
    request = stage.request(on_lambda())
    with pytest.raises(KeyboardInterrupt):
        stage.engine.submit(request, stage.engine.reserve(request))
    stage.engine.close()
    assert not stage.calls("fetch")


def test_a_task_that_still_works_is_told_to_end_before_its_events_are_fetched(stage: Stage) -> None:
    stage.play(
        status=[{"result": {"cluster": "UP", "job": "RUNNING"}}, {"result": {"cluster": "UP", "job": "SUCCEEDED"}}],
        run=[{"result": {"out": "asked"}}],
        provider=[{"result": KNOWN}],
        down=[{"result": {"existed": True}}],
        evidence=[{"result": UP}, {"result": {**UP, "instances": {}}}],
    )
    reconciled(stage, on_lambda())
    asked = [op for op, _ in stage.calls("run", "fetch", "down")]
    assert asked[:2] == ["run", "fetch"]
    assert "down" in asked
