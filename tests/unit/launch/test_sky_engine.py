"""States, teardown, evidence, results: what the sky engine concludes from what a worker process plays."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, NothingFitsError
from manager.launch import sky_down, sky_engine
from manager.launch.engine import LOG_FILE, Engine, LaunchRequest, MachineState
from manager.launch.sky_engine import SkyEngine
from manager.launch.sky_worker import SkyWorker
from tasks.protocol import Event, EventType
from tests.support.sky_stage import (
    FAKE,
    KNOWN,
    LAUNCHED,
    NO_CLUSTER,
    NOBODY_ASKED,
    NOTHING_LEFT,
    Stage,
    event_line,
    offer,
)


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


def test_an_ended_job_is_asked_for_once(stage: Stage) -> None:
    stage.play(status=[{"result": {"cluster": "UP", "job": "RUNNING"}}, {"result": {"cluster": "UP", "job": "FAILED"}}])
    handle = stage.handle()
    found = [stage.engine.status(handle) for _ in range(4)]
    assert found == [MachineState.RUNNING, *[MachineState.FAILED] * 3]
    assert len(stage.calls("status")) == 2


def test_nothing_is_asked_again_between_the_last_word_and_the_teardown(stage: Stage) -> None:
    request = stage.request(offer("a100b"))
    last = f"(tf-demo-1, pid=7) TUNEFARE-EVENT {event_line(0, EventType.FINISHED)}"
    stage.play(
        launch=[{"result": LAUNCHED}],
        tail=[{"lines": [last], "result": {"exit_code": 0}}],
        status=[{"result": {"cluster": "UP", "job": "SUCCEEDED"}}],
        down=[{"result": {"existed": True}}],
    )
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    told = list(stage.engine.stream(handle, after_seq=-1))
    assert [one.type for one in told if isinstance(one, Event)] == [EventType.FINISHED]
    assert stage.engine.status(handle) is MachineState.SUCCEEDED
    stage.engine.down(handle)
    assert [name for name, _ in stage.calls()] == ["launch", "tail", "status", "down"]


def test_down_is_repeated_after_an_error_and_harmless_without_a_cluster(stage: Stage) -> None:
    stage.play(down=[{"error": ["RuntimeError", "busy"]}, {"result": {"existed": False}}])
    stage.engine.down(stage.handle())
    stage.engine.down(stage.handle())
    assert len(stage.calls("down")) == 3


def test_down_that_never_works_is_an_error(stage: Stage) -> None:
    stage.play(down=[{"error": ["RuntimeError", "permission denied"]}])
    with pytest.raises(EngineError, match="permission denied"):
        stage.engine.down(stage.handle())
    assert len(stage.calls("down")) == sky_down.DOWN_ATTEMPTS


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
    request = stage.request(offer("g5.xlarge", cloud="gcp"))
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


def test_small_things_come_home_before_the_weights(stage: Stage) -> None:
    stage.play()
    stage.engine.fetch(stage.handle())
    ((_, asked),) = stage.calls("fetch")
    names = [source.partition("demo-1/")[2] for source, _ in asked["items"]]
    assert names[-2:] == ["model/adapter/", "model/"]
    assert {"events.jsonl", "manifest.json"} < set(names[:-2])


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
