"""Launch and stream: which offer is taken, what is taken down, and that no event is lost or doubled."""

from decimal import Decimal
from typing import Any

import pytest

from manager.errors import EngineError, NothingFitsError
from manager.launch import sky_answers
from manager.launch.sky_worker import SkyPilotError
from tasks.job import parse_job
from tasks.protocol import Event, EventType
from tests.support.sky_stage import LAUNCHED, Stage, event_line, log_line, offer


def test_the_next_offer_is_taken_and_the_refused_one_is_taken_down(stage: Stage) -> None:
    full = {"error": ["ResourcesUnavailableError", "failed"], "history": ["partition a100b is full"]}
    stage.play(launch=[full, {"result": LAUNCHED}], down=[{"result": {"existed": False}}])
    request = stage.request(offer("a100b"), offer("a100", "3.67"))
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert launched.offer == offer("a100", "3.67")
    assert len(launched.failed_attempts) == 1
    assert "a100b" in launched.failed_attempts[0]
    assert "is full" in launched.failed_attempts[0]
    assert launched.billing_started_at_s == 1000.0
    assert launched.handle.details["job_id"] == 1
    tried = [(op, args.get("task", {}).get("resources", {}).get("infra")) for op, args in stage.calls("launch", "down")]
    assert tried == [("launch", "slurm/lab/a100b"), ("down", None), ("launch", "slurm/lab/a100")]


def test_the_job_carries_the_price_of_the_offer_that_was_taken(stage: Stage) -> None:
    full = {"error": ["ResourcesUnavailableError", "full"]}
    stage.play(launch=[full, {"result": LAUNCHED}])
    request = stage.request(offer("a100b"), offer("a100", "3.67"), max_duration_s=60.0)
    stage.engine.submit(request, stage.engine.reserve(request))
    job = parse_job((request.run_dir / "upload" / "job.json").read_text())
    assert job.guard.price_usd_per_hour == 3.67
    assert job.guard.billing_started_s == 1000.0
    assert job.guard.max_duration_s == 60.0


def test_what_the_offer_left_open_is_filled_in_from_the_launch(stage: Stage) -> None:
    stage.play(launch=[{"result": LAUNCHED}])
    request = stage.request(offer("a100b", None, instance_type=None))
    taken = stage.engine.submit(request, stage.engine.reserve(request)).offer
    assert (taken.instance_type, taken.price_usd_per_hour) == ("a100", Decimal("3.67"))
    assert "SkyPilot" in taken.price_source


def test_the_price_of_the_launch_replaces_the_planned_one_which_stays_visible(stage: Stage) -> None:
    stage.play(launch=[{"result": LAUNCHED}])
    request = stage.request(offer("a100", "1.99", flags=("arm64",)))
    taken = stage.engine.submit(request, stage.engine.reserve(request)).offer
    assert taken.price_usd_per_hour == Decimal("3.67")
    assert taken.price_source == "SkyPilot, at the launch"
    assert taken.flags == ("arm64", "planned_price_usd_per_hour=1.99")


@pytest.mark.parametrize("said", [None, 0.0, 1.9900000001])
def test_the_planned_price_stays_where_skypilot_has_no_other(stage: Stage, said: float | None) -> None:
    stage.play(launch=[{"result": {**LAUNCHED, "price_usd_per_hour": said}}])
    request = stage.request(offer("a100", "1.99"))
    assert stage.engine.submit(request, stage.engine.reserve(request)).offer == offer("a100", "1.99")


def test_all_refused_is_nothing_fits_with_each_reason(stage: Stage) -> None:
    stage.play(
        launch=[
            {"error": ["ResourcesUnavailableError", "x"], "history": ["no capacity"]},
            {"error": ["UnknownOfferError", "not in the catalog"]},
        ]
    )
    request = stage.request(offer("a100b"), offer("a100"))
    with pytest.raises(NothingFitsError, match=r"no capacity.*not in the catalog"):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert len(stage.calls("down")) == 2


@pytest.mark.parametrize("move", [{"error": ["CommandError", "rsync failed"]}, {"die": True}])
def test_any_other_end_of_a_launch_takes_the_cluster_down(stage: Stage, move: dict[str, Any]) -> None:
    stage.play(launch=[move])
    request = stage.request(offer("a100b"), offer("a100"))
    with pytest.raises(EngineError):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert [op for op, _ in stage.calls("launch", "down")] == ["launch", "down"]


def test_a_launch_that_hangs_is_given_up_and_taken_down(stage: Stage) -> None:
    stage.play(launch=[{"hang": True}])
    request = stage.request(offer("g5.xlarge", cloud="aws"), launch_timeout_s=1.0)
    with pytest.raises(NothingFitsError, match=r"no machine was ready within 1 s: .*g5.xlarge.*no answer"):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert [op for op, _ in stage.calls("launch", "down")] == ["launch", "down"]


def test_a_cloud_that_hangs_leaves_time_for_the_next(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_answers, "MIN_CLOUD_LAUNCH_S", 0.0)
    stage.play(launch=[{"hang": True}, {"result": LAUNCHED}])
    request = stage.request(offer("g5.xlarge", cloud="aws"), offer("g6.xlarge", cloud="aws"), launch_timeout_s=4.0)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert launched.offer.instance_type == "g6.xlarge"
    assert "no answer" in launched.failed_attempts[0]


def test_a_cloud_is_given_the_minutes_that_a_boot_needs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def refuse(timeout_s: float) -> None:
        limits.append(timeout_s)
        raise SkyPilotError("ResourcesUnavailableError", "full")

    stage.play()
    stage.at_launch(monkeypatch, refuse)
    request = stage.request(*[offer(f"g{n}", cloud="aws") for n in range(9)], launch_timeout_s=900.0)
    with pytest.raises(NothingFitsError):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert limits[0] == 600.0


def test_after_the_deadline_no_other_offer_is_launched(stage: Stage) -> None:
    stage.play(launch=[{"hang": True}])
    offers = [offer(name, cloud="aws") for name in ("g4", "g5", "g6")]
    request = stage.request(*offers, launch_timeout_s=1.0)
    with pytest.raises(NothingFitsError, match=r"within 1 s: .*g4.*; 2 more offers were not tried"):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert len(stage.calls("launch")) == 1


def test_a_slurm_partition_that_queues_leaves_time_for_the_next(stage: Stage) -> None:
    stage.play(launch=[{"hang": True}, {"result": LAUNCHED}])
    request = stage.request(offer("a100b"), offer("a100"), launch_timeout_s=6.0)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert "no answer" in launched.failed_attempts[0]


def test_ctrl_c_in_a_launch_takes_the_cluster_down(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    stage.play()
    stage.at_launch(monkeypatch, interrupt)
    request = stage.request(offer("a100b"))
    with pytest.raises(KeyboardInterrupt):
        stage.engine.submit(request, stage.engine.reserve(request))
    assert [op for op, _ in stage.calls("down")] == ["down"]


def test_a_broken_stream_is_resumed_without_doubles_and_its_losses_come_from_the_file(stage: Stage) -> None:
    stage.play(
        tail=[
            {"lines": ["(tf, pid=7) hello", log_line(0), log_line(1), "TUNEFARE-EVENT {torn"], "die": True},
            {"lines": ["(tf, pid=7) hello", log_line(0), log_line(1), "(tf, pid=7) bye"], "result": {"exit_code": 0}},
        ],
        status=[
            {"result": {"cluster": "UP", "job": "RUNNING"}},
            {"result": {"cluster": "UP", "job": "SUCCEEDED"}},
        ],
    )
    lines = [event_line(0), event_line(1), event_line(2), event_line(3, EventType.FINISHED)]
    stage.machine_file("events.jsonl", "\n".join(lines) + "\n")
    stream = list(stage.engine.stream(stage.handle(), after_seq=-1))
    assert [x.seq for x in stream if isinstance(x, Event)] == [0, 1, 2, 3]
    assert [x for x in stream if isinstance(x, str)] == ["hello", "bye"]


def test_the_stream_begins_after_what_is_known_and_fills_a_gap_while_the_task_runs(stage: Stage) -> None:
    stage.play(
        tail=[{"lines": [log_line(3), log_line(6), log_line(7)], "result": {"exit_code": 0}}],
        status=[{"result": {"cluster": "UP", "job": "SUCCEEDED"}}],
    )
    stage.machine_file("events.jsonl", "".join(event_line(seq) + "\n" for seq in range(8)))
    stream = stage.engine.stream(stage.handle(), after_seq=4)
    assert [x.seq for x in stream if isinstance(x, Event)] == [5, 6, 7]


def test_a_machine_that_vanished_ends_the_stream_before_the_first_event_that_is_lost(stage: Stage) -> None:
    stage.play(
        tail=[{"lines": [log_line(0), log_line(2)], "die": True}],
        status=[{"result": {"cluster": None, "job": None}}],
        fetch=[{"error": ["LookupError", "no such cluster"]}],
    )
    first, *rest = stage.engine.stream(stage.handle(), after_seq=-1)
    assert isinstance(first, Event)
    assert first.seq == 0
    assert rest == ["tunefare: event 1 never arrived; what came after, from event 2, is left out"]


def test_an_unreachable_machine_is_given_up_after_a_bounded_number_of_tries(stage: Stage) -> None:
    stage.play(tail=[{"die": True}], status=[{"error": ["CommandError", "ssh: no route"]}])
    with pytest.raises(EngineError, match="broke 8 times"):
        list(stage.engine.stream(stage.handle(), after_seq=-1))
    assert max(stage.slept) <= 30.0


def test_unread_events_of_an_ended_task_are_an_error_not_a_silent_loss(stage: Stage) -> None:
    stage.play(
        tail=[{"lines": [log_line(0)], "result": {"exit_code": 0}}],
        status=[{"result": {"cluster": "UP", "job": "SUCCEEDED"}}],
        fetch=[{"error": ["CommandError", "ssh: no route"]}],
    )
    with pytest.raises(EngineError, match="cannot be read"):
        list(stage.engine.stream(stage.handle(), after_seq=-1))
