"""The sky engine against a worker process that plays scenarios: what it concludes and what it never forgets to end."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, NothingFitsError
from manager.launch import sky_engine
from manager.launch.engine import LOG_FILE, Engine, Handle, LaunchRequest, MachineState
from manager.launch.sky_engine import SkyEngine
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from manager.prices.offer import Offer
from tasks.protocol import DataChoice, Event, EventType, Job, ModelChoice, parse_job

FAKE = Path(__file__).with_name("sky_fake_worker.py")
LAUNCHED = {
    "job_id": 1,
    "region": "lab",
    "zone": "a100",
    "instance_type": "4CPU--16GB--A100:1",
    "price_usd_per_hour": 3.67,
    "provider": {"name": "slurm", "name_on_cloud": "tf-demo-1", "config": {"cluster": "lab"}},
}
NOTHING_LEFT: dict[str, Any] = {"cluster": None, "launches": [], "provider": "slurm", "instances": {}}

NOBODY_ASKED: dict[str, Any] = {"cluster": None, "launches": [], "provider": None, "instances": None}
NO_CLUSTER: dict[str, Any] = {"existed": False, "provider": None}
KNOWN: dict[str, Any] = {"existed": True, "provider": LAUNCHED["provider"]}


def offer(partition: str, price: str | None = "1.99", **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "cloud": "slurm",
        "region": "lab",
        "instance_type": partition,
        "accelerator": "A100",
        "accelerator_count": 1,
        "accelerator_memory_bytes": None,
        "vcpus": None,
        "host_memory_bytes": None,
        "use_spot": False,
        "price_usd_per_hour": None if price is None else Decimal(price),
        "price_source": "site",
        "price_age_s": None,
    }
    return Offer(**{**values, **changes})


class Stage:
    """An engine, its scenario and what the worker was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slept: list[float] = []
        self.engine = SkyEngine(
            worker=lambda log: SkyWorker(command=(sys.executable, str(FAKE), str(folder)), log_path=log),
            clock=lambda: 1000.0,
            sleep=self.slept.append,
        )

    def play(self, **scenario: list[dict[str, Any]]) -> None:
        (self.folder / "scenario.json").write_text(json.dumps(scenario))

    def request(self, *offers: Offer, **changes: Any) -> LaunchRequest:
        job = Job(run_id="demo-1", model=ModelChoice(source="org/model"), data=DataChoice(source="org/data"))
        run_dir = self.folder / "run"
        return LaunchRequest(run_id="demo-1", job=job, offers=offers, run_dir=run_dir, **changes)

    def handle(self) -> Handle:
        handle = self.engine.reserve(self.request(offer("a100b")))
        Path(handle.run_dir).mkdir(exist_ok=True)
        return handle

    def calls(self, *names: str) -> list[Any]:
        lines = [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
        return [call for call in lines if not names or call[0] in names]

    def machine_file(self, name: str, content: str) -> None:
        (self.folder / "machine").mkdir(exist_ok=True)
        (self.folder / "machine" / name).write_text(content)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.engine.close()


def event_line(seq: int, kind: EventType = EventType.TRAIN) -> str:
    return Event(seq=seq, time_s=1.0, type=kind, data={"step": seq}).to_line()


def log_line(seq: int) -> str:
    return f"(tf-demo-1, pid=7) TUNEFARE-EVENT {event_line(seq)}"


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
    monkeypatch.setattr(sky_engine, "MIN_CLOUD_LAUNCH_S", 0.0)
    stage.play(launch=[{"hang": True}, {"result": LAUNCHED}])
    request = stage.request(offer("g5.xlarge", cloud="aws"), offer("g6.xlarge", cloud="aws"), launch_timeout_s=4.0)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert launched.offer.instance_type == "g6.xlarge"
    assert "no answer" in launched.failed_attempts[0]


def test_a_cloud_is_given_the_minutes_that_a_boot_needs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def refuse(*_: object, timeout_s: float) -> None:
        limits.append(timeout_s)
        raise SkyPilotError("ResourcesUnavailableError", "full")

    stage.play()
    monkeypatch.setattr(SkyEngine, "_launch", refuse)
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
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stage.play()
    monkeypatch.setattr(SkyEngine, "_launch", interrupt)
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


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"cluster": None, "job": None}, MachineState.GONE),
        ({"cluster": "INIT", "job": None}, MachineState.STARTING),
        ({"cluster": "UP", "job": None}, MachineState.STARTING),
        ({"cluster": "UP", "job": "SETTING_UP"}, MachineState.STARTING),
        ({"cluster": "UP", "job": "RUNNING"}, MachineState.RUNNING),
        ({"cluster": "UP", "job": "SUCCEEDED"}, MachineState.SUCCEEDED),
        ({"cluster": "UP", "job": "FAILED"}, MachineState.FAILED),
        ({"cluster": "UP", "job": "CANCELLED"}, MachineState.FAILED),
        ({"cluster": "UP", "job": "FAILED_SETUP"}, MachineState.SETUP_FAILED),
        ({"cluster": "STOPPED", "job": None}, MachineState.UNKNOWN),
    ],
)
def test_states(stage: Stage, answer: dict[str, Any], state: MachineState) -> None:
    stage.play(status=[{"result": answer}])
    assert stage.engine.status(stage.handle()) is state


def test_a_silent_machine_is_asked_for_at_its_provider(stage: Stage) -> None:
    stage.play(status=[{"error": ["CommandError", "srun: job is gone"]}, {"result": {"cluster": None, "job": None}}])
    assert stage.engine.status(stage.handle()) is MachineState.GONE
    assert [bool(args.get("refresh")) for _, args in stage.calls("status")] == [False, True]


def test_down_is_repeated_after_an_error_and_harmless_without_a_cluster(stage: Stage) -> None:
    stage.play(down=[{"error": ["RuntimeError", "busy"]}, {"result": {"existed": False}}])
    stage.engine.down(stage.handle())
    stage.engine.down(stage.handle())
    assert len(stage.calls("down")) == 3


def test_down_that_never_works_is_an_error(stage: Stage) -> None:
    stage.play(down=[{"error": ["RuntimeError", "permission denied"]}])
    with pytest.raises(EngineError, match="permission denied"):
        stage.engine.down(stage.handle())
    assert len(stage.calls("down")) == sky_engine.DOWN_ATTEMPTS


def test_evidence_is_confirmed_only_when_nothing_is_left(stage: Stage) -> None:
    left = {"cluster": "INIT", "launches": ["abc"], "provider": "slurm", "instances": {"job17": "UP"}}
    stage.play(evidence=[{"result": left}, {"result": NOTHING_LEFT}])
    first, second = stage.engine.evidence(stage.handle()), stage.engine.evidence(stage.handle())
    assert not first.confirmed
    assert first.left == ("launch request abc", "tf-demo-1 (INIT)", "job17 (UP)")
    assert second.confirmed
    assert second.left == ()
    assert "slurm reports none" in second.answer


@pytest.mark.parametrize("move", [{"hang": True}, {"error": ["ConnectionError", "refused"]}, {"die": True}])
def test_evidence_is_unconfirmed_when_nobody_answers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, move: dict[str, Any]
) -> None:
    monkeypatch.setattr(sky_engine, "QUERY_TIMEOUT_S", 2.0)
    stage.play(evidence=[move])
    evidence = stage.engine.evidence(stage.handle())
    assert not evidence.confirmed
    assert "no answer" in evidence.answer


def test_the_provider_is_asked_with_what_was_kept_before_the_teardown(stage: Stage) -> None:
    stage.play(provider=[{"result": KNOWN}], evidence=[{"result": NOTHING_LEFT}])
    stage.engine.down(stage.handle())
    another = SkyEngine(worker=lambda log: SkyWorker(command=(sys.executable, str(FAKE), str(stage.folder))))
    another.evidence(stage.handle())
    another.close()
    assert stage.calls("evidence")[0][1]["provider"] == LAUNCHED["provider"]


@pytest.mark.parametrize("move", [{"error": ["ConnectionError", "refused"]}, {"result": NO_CLUSTER}])
def test_without_facts_nothing_that_was_launched_is_confirmed(stage: Stage, move: dict[str, Any]) -> None:
    stage.play(
        launch=[{"result": {**LAUNCHED, "provider": None}}], provider=[move], evidence=[{"result": NOBODY_ASKED}]
    )
    request = stage.request(offer("g5.xlarge", cloud="aws"))
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    stage.engine.down(handle)
    stage.engine.down(handle)
    evidence = stage.engine.evidence(handle)
    assert not evidence.confirmed
    assert "could not be asked" in evidence.answer


@pytest.mark.parametrize(
    ("provider", "down", "confirmed"),
    [
        ({"result": NO_CLUSTER}, {"existed": False}, True),
        ({"error": ["ConnectionError", "refused"]}, {"existed": False}, False),
        ({"result": NO_CLUSTER}, {"existed": True}, False),
        ({"result": {**NO_CLUSTER, "existed": True}}, {"existed": False}, False),
    ],
)
def test_a_refused_launch_is_confirmed_as_gone_only_when_skypilot_never_had_a_cluster(
    stage: Stage, provider: dict[str, Any], down: dict[str, Any], confirmed: bool
) -> None:
    stage.play(
        launch=[{"error": ["ResourcesUnavailableError", "full"]}],
        provider=[provider],
        down=[{"result": down}],
        evidence=[{"result": NOBODY_ASKED}],
    )
    request = stage.request(offer("g5.xlarge", cloud="aws"))
    handle = stage.engine.reserve(request)
    with pytest.raises(NothingFitsError):
        stage.engine.submit(request, handle)
    stage.engine.down(handle)
    assert stage.engine.evidence(handle).confirmed is confirmed


def test_one_provider_does_not_answer_for_the_next(stage: Stage) -> None:
    stage.play(
        launch=[{"error": ["ResourcesUnavailableError", "full"]}, {"result": {**LAUNCHED, "provider": None}}],
        provider=[{"result": KNOWN}, {"error": ["ConnectionError", "refused"]}],
        evidence=[{"result": NOBODY_ASKED}],
    )
    request = stage.request(offer("a100"), offer("g5.xlarge", cloud="aws"))
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    stage.engine.down(handle)
    assert not stage.engine.evidence(handle).confirmed
    assert stage.calls("evidence")[0][1] == {"cluster": "tf-demo-1", "provider": None}


def test_slurm_is_asked_by_name_where_facts_are_missing(stage: Stage) -> None:
    stage.play(launch=[{"result": {**LAUNCHED, "provider": None}}], evidence=[{"result": NOTHING_LEFT}])
    request = stage.request(offer("a100"))
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    assert stage.engine.evidence(handle).confirmed
    assert stage.calls("evidence")[0][1]["slurm_cluster"] == "lab"


def test_a_torn_file_of_facts_is_an_attempt_that_nobody_can_be_asked_about(stage: Stage) -> None:
    stage.play(evidence=[{"result": NOBODY_ASKED}])
    handle = stage.handle()
    (Path(handle.run_dir) / "sky-attempt.json").write_text('{"cloud": "aws", "pro')
    assert not stage.engine.evidence(handle).confirmed


def test_a_launch_that_the_ledger_knows_of_counts_without_its_file(stage: Stage) -> None:
    stage.play(launch=[{"result": LAUNCHED}], evidence=[{"result": NOBODY_ASKED}])
    request = stage.request(offer("a100"))
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    (request.run_dir / "sky-attempt.json").unlink()
    assert not stage.engine.evidence(handle).confirmed


def test_a_full_disk_does_not_keep_a_machine_alive(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    stage.play(provider=[{"result": KNOWN}])
    handle = stage.handle()
    monkeypatch.setattr("manager.launch.sky_attempt.os.fsync", full)
    stage.engine.down(handle)
    assert len(stage.calls("down")) == 1


@pytest.mark.parametrize(
    ("said", "states", "ended_by_sky"),
    [
        ("asked\n", ["RUNNING", "SUCCEEDED"], False),
        ("asked\n", ["RUNNING"], True),
        ("not-started\n", ["SETTING_UP"], True),
    ],
)
def test_cancel_asks_the_program_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, said: str, states: list[str], ended_by_sky: bool
) -> None:
    times = iter(range(0, 10_000, 10))
    monkeypatch.setattr("manager.launch.sky_engine.time.monotonic", lambda: float(next(times)))
    stage.play(
        run=[{"result": {"exit_code": 0, "out": said, "err": ""}}],
        status=[{"result": {"cluster": "UP", "job": job}} for job in states],
    )
    stage.engine.cancel(stage.handle(), grace_s=100.0)
    assert bool(stage.calls("cancel")) is ended_by_sky
    assert stage.calls("run")[0][1]["env"] == {"TUNEFARE_RUN_ID": "demo-1"}


def test_fetch_brings_what_there_is(stage: Stage) -> None:
    stage.play()
    stage.machine_file("events.jsonl", "e")
    stage.machine_file("run.log", "l")
    handle = stage.handle()
    stage.engine.fetch(handle)
    assert (Path(handle.run_dir) / "events.jsonl").read_text() == "e"
    assert (Path(handle.run_dir) / "log.txt").read_text() == "l"
    assert LOG_FILE == "log.txt"


def test_nothing_can_be_fetched_from_a_machine_that_is_gone(stage: Stage) -> None:
    stage.play(fetch=[{"error": ["LookupError", "SkyPilot knows no cluster tf-demo-1"]}])
    with pytest.raises(EngineError, match="is gone"):
        stage.engine.fetch(stage.handle())


def test_it_is_an_engine() -> None:
    engine: Engine = SkyEngine()
    assert engine.name == "sky"


def test_importing_the_engine_loads_no_sky() -> None:
    code = "import sys, manager.launch.sky_engine; sys.exit('sky' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_that_a_shell_would_tear_is_refused(stage: Stage) -> None:
    request = stage.request(offer("a100b"))
    bad = LaunchRequest(run_id="demo-1", job=request.job, offers=request.offers, run_dir=Path("/tmp/it's $(mine)"))
    with pytest.raises(EngineError, match="cannot copy"):
        stage.engine.reserve(bad)
