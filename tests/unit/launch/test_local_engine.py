"""The local engine with real processes: what it starts it finds again, and nothing of it is left."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from manager.errors import EngineError
from manager.launch.engine import Handle, LaunchRequest, MachineState
from manager.launch.local import LocalEngine
from manager.launch.local_process import ProcessIdentity, identify, is_alive
from manager.prices.local import detect_device
from manager.prices.offer import Offer
from tasks.job import DataChoice, Job, ModelChoice, parse_job
from tasks.protocol import Event, EventType

FAKES = Path(__file__).parent
OFFER = Offer(
    cloud="local",
    region=None,
    instance_type=None,
    accelerator=None,
    accelerator_count=0,
    accelerator_memory_bytes=None,
    vcpus=2,
    host_memory_bytes=None,
    use_spot=False,
    price_usd_per_hour=None,
    price_source="test",
    price_age_s=None,
)


@pytest.fixture
def engine() -> LocalEngine:
    return LocalEngine(task_module="fake_task", env={"PYTHONPATH": str(FAKES)})


@pytest.fixture
def run_dir(tmp_path: Path, engine: LocalEngine) -> Iterator[Path]:
    folder = tmp_path / "run"
    yield folder
    engine.down(Handle(engine="local", run_dir=str(folder), name="r", details={}))


def request_for(run_dir: Path, max_duration_s: float | None = None, **orders: object) -> LaunchRequest:
    source = json.dumps({"steps": 5, "step_s": 0.02, **orders})
    job = Job(run_id="r", model=ModelChoice(source="m"), data=DataChoice(source=source))
    return LaunchRequest(run_id="r", job=job, offers=(OFFER,), run_dir=run_dir, max_duration_s=max_duration_s)


def launch(engine: LocalEngine, request: LaunchRequest) -> Handle:
    return engine.submit(request, engine.reserve(request)).handle


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 15
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def test_a_task_runs_to_its_end(engine: LocalEngine, run_dir: Path) -> None:
    request = request_for(run_dir)
    launched = engine.submit(request, engine.reserve(request))
    items = list(engine.stream(launched.handle, after_seq=-1))
    events = [item for item in items if isinstance(item, Event)]
    assert [event.seq for event in events] == list(range(7))
    assert events[-1].type is EventType.FINISHED
    assert [item for item in items if isinstance(item, str)] == ["fake task: a line of log"]
    assert engine.status(launched.handle) is MachineState.SUCCEEDED
    assert launched.offer == OFFER
    guard = parse_job((run_dir / "job.json").read_text()).guard
    assert guard.billing_started_s == launched.billing_started_at_s
    engine.down(launched.handle)
    assert engine.evidence(launched.handle).confirmed


def test_a_stream_resumes_after_a_sequence_number(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir))
    list(engine.stream(handle, after_seq=-1))
    again = list(engine.stream(handle, after_seq=3))
    assert [item.seq for item in again if isinstance(item, Event)] == [4, 5, 6]
    assert "fake task: a line of log" not in again


def test_a_crash_is_a_failure_and_its_torn_line_no_event(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, trick="crash"))
    events = [item for item in engine.stream(handle, after_seq=-1) if isinstance(item, Event)]
    assert [event.seq for event in events] == [0, 1, 2, 3]
    assert engine.status(handle) is MachineState.FAILED


def test_cancel_lets_the_task_stop_in_good_order(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, steps=1000))
    wait_for(run_dir / "events.jsonl")
    engine.cancel(handle, grace_s=10)
    events = [item for item in engine.stream(handle, after_seq=-1) if isinstance(item, Event)]
    assert events[-1].data["outcome"] == "stopped"
    assert engine.status(handle) is MachineState.SUCCEEDED


def test_cancel_kills_a_task_that_does_not_listen(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, steps=1000, trick="ignore_term"))
    wait_for(run_dir / "events.jsonl")
    engine.cancel(handle, grace_s=0.5)
    list(engine.stream(handle, after_seq=-1))
    assert json.loads((run_dir / "exit.json").read_text())["returncode"] == -signal.SIGKILL
    assert engine.status(handle) is MachineState.FAILED


def test_evidence_names_what_is_left_and_down_ends_it(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, steps=1000))
    evidence = engine.evidence(handle)
    assert not evidence.confirmed
    assert any(name.startswith(str(handle.details["pid"])) for name in evidence.left)
    engine.down(handle)
    assert engine.evidence(handle).left == ()


def test_a_process_that_left_group_session_and_environment_is_found(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, steps=1, trick="escape"))
    list(engine.stream(handle, after_seq=-1))
    pid = int((run_dir / "escaped.pid").read_text())
    try:
        assert f"{pid} sleep" in engine.evidence(handle).left
        engine.down(handle)
        assert identify(pid) is None
        assert engine.evidence(handle).confirmed
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_a_task_leaves_behind_ends_with_it(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, trick="linger"))
    list(engine.stream(handle, after_seq=-1))
    deadline = time.monotonic() + 10
    while not engine.evidence(handle).confirmed:
        assert time.monotonic() < deadline, engine.evidence(handle)
        time.sleep(0.05)


def test_a_run_is_found_by_its_folder_alone(engine: LocalEngine, run_dir: Path) -> None:
    request = request_for(run_dir, steps=1000)
    reserved = engine.reserve(request)
    engine.submit(request, reserved)
    assert engine.status(reserved) in {MachineState.STARTING, MachineState.RUNNING}
    (run_dir / "pid.json").unlink()
    assert engine.status(reserved) in {MachineState.STARTING, MachineState.RUNNING}
    engine.down(reserved)
    assert engine.evidence(reserved).confirmed


def test_a_task_without_its_runner_is_still_streamed_and_ended(engine: LocalEngine, run_dir: Path) -> None:
    handle = launch(engine, request_for(run_dir, steps=60))
    wait_for(run_dir / "events.jsonl")
    os.kill(handle.details["pid"], signal.SIGKILL)
    events = [item for item in engine.stream(handle, after_seq=-1) if isinstance(item, Event)]
    assert events[-1].type is EventType.FINISHED
    assert engine.status(handle) is MachineState.GONE


def test_the_task_outlives_its_client(run_dir: Path, engine: LocalEngine) -> None:
    code = (
        "import pickle, sys; engine, request = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "engine.submit(request, engine.reserve(request)); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    request = request_for(run_dir, steps=20)
    payload = pickle.dumps((engine, request)).hex()
    done = subprocess.run([sys.executable, "-c", code, payload], check=False)
    assert done.returncode == -signal.SIGKILL
    items = engine.stream(engine.reserve(request), after_seq=-1)
    events = [item for item in items if isinstance(item, Event)]
    assert [event.seq for event in events] == list(range(22))


def test_the_runner_keeps_the_longest_duration(
    engine: LocalEngine, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.launch.local_deadman.is_possible", lambda: False)
    monkeypatch.setattr("manager.launch.local.DURATION_MARGIN_S", 0.5)
    handle = launch(engine, request_for(run_dir, max_duration_s=0.5, steps=10_000))
    events = [item for item in engine.stream(handle, after_seq=-1) if isinstance(item, Event)]
    assert events[-1].data["outcome"] == "stopped"


def test_a_folder_carries_one_run(engine: LocalEngine, run_dir: Path) -> None:
    request = request_for(run_dir, steps=1000)
    launch(engine, request)
    with pytest.raises(EngineError, match="already belongs"):
        launch(engine, request)


def test_a_folder_that_cannot_be_written_is_an_engine_error(engine: LocalEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    request = request_for(tmp_path / "file" / "run")
    with pytest.raises(EngineError, match="cannot be started") as caught:
        launch(engine, request)
    assert caught.value.hint is not None


def test_a_missing_interpreter_is_a_failed_task(run_dir: Path) -> None:
    engine = LocalEngine(python="/nowhere/python", task_module="fake_task")
    handle = launch(engine, request_for(run_dir))
    log = [item for item in engine.stream(handle, after_seq=-1) if isinstance(item, str)]
    assert any("/nowhere/python" in line for line in log)
    assert engine.status(handle) is MachineState.FAILED


def test_a_reused_pid_is_left_alone(engine: LocalEngine, run_dir: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        created_at_s = psutil.Process(stranger.pid).create_time() - 3600
        details = dataclasses.asdict(ProcessIdentity(pid=stranger.pid, created_at_s=created_at_s))
        run_dir.mkdir()
        handle = Handle(engine="local", run_dir=str(run_dir), name="r", details=details)
        assert engine.evidence(handle).confirmed
        engine.down(handle)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 10
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not is_alive(ProcessIdentity(pid=child.pid, created_at_s=psutil.Process(child.pid).create_time()))
    child.wait()


GPU_OFFER = dataclasses.replace(OFFER, accelerator="L4", accelerator_count=1)


def _with_gpu(accelerator: str | None) -> LocalEngine:
    device = dataclasses.replace(
        detect_device(), accelerator=accelerator, accelerator_count=2, accelerator_uuid=accelerator and "GPU-1b"
    )
    return LocalEngine(task_module="fake_task", env={"PYTHONPATH": str(FAKES)}, detect=lambda: device)


@pytest.mark.parametrize(
    ("offer", "visible", "kind"), [(OFFER, "", "cpu"), (GPU_OFFER, "GPU-1b", "cuda")], ids=["cpu", "gpu"]
)
def test_the_task_sees_the_one_device_of_the_plan(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, offer: Offer, visible: str, kind: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    engine = _with_gpu("L4")
    handle = launch(engine, dataclasses.replace(request_for(run_dir, trick="tell_device"), offers=(offer,)))
    list(engine.stream(handle, after_seq=-1))
    assert (run_dir / "visible_devices.txt").read_text() == visible
    assert parse_job((run_dir / "job.json").read_text()).device == kind


@pytest.mark.parametrize("found", [None, "T4"])
def test_a_gpu_that_is_gone_is_an_error_and_starts_nothing(run_dir: Path, found: str | None) -> None:
    engine = _with_gpu(found)
    with pytest.raises(EngineError, match="the plan is for L4"):
        launch(engine, dataclasses.replace(request_for(run_dir), offers=(GPU_OFFER,)))
    assert not (run_dir / "pid.json").exists()
