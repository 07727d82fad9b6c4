"""Signs of life: what the file says, what counts as progress, and the end of a program whose main thread is stuck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.heartbeat import Heartbeat, end_when_lost, heartbeat_file
from tasks.job import GuardChoice, Job
from tasks.protocol import Event, EventType, PhaseName, parse_event


class Clock:
    """Seconds that stand still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def heart() -> Iterator[Heartbeat]:
    one = Heartbeat()
    yield one
    one.stop()


def told(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def wait_for_beat(file: Path, *, after_at: float) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if file.exists() and told(file)["at"] > after_at:
            return told(file)
        time.sleep(0.02)
    raise AssertionError("no heartbeat")


def test_the_file_is_there_at_once_and_is_replaced(heart: Heartbeat, tmp_path: Path) -> None:
    file = tmp_path / "heartbeat.json"
    heart.start(file, every_s=0.1)
    first = told(file)
    assert first["pid"] == os.getpid()
    assert first["phase"] is None
    time.sleep(0.01)  # More than the milliseconds that times are rounded to.
    heart.progress(phase=PhaseName.TRAINING, step=3)
    later = wait_for_beat(file, after_at=first["at"] + 0.2)
    assert (later["phase"], later["step"]) == ("training", 3)
    assert later["progress_at"] > first["progress_at"]
    assert later["utilization_percent"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat.json"]


def test_a_clock_that_is_set_back_changes_no_decision() -> None:
    wall, steady = Clock(), Clock()
    heart = Heartbeat(clock=wall, monotonic=steady)
    heart.progress(phase=PhaseName.TRAINING)
    wall.now -= 5000.0
    steady.now += 100.0
    assert heart.stuck_s() == 100.0
    heart.progress()
    assert heart.stuck_s() == 100.0, "no work of the device was seen"


def test_a_device_that_does_nothing_counts_in_training_alone() -> None:
    steady = Clock()
    heart = Heartbeat(monotonic=steady)
    heart.observe(lambda: 0.0)
    heart.progress(phase=PhaseName.LOADING_MODEL)
    steady.now += 500.0
    heart._sample()
    heart.progress()
    assert heart.stuck_s() == 0.0
    heart.progress(phase=PhaseName.TRAINING)
    steady.now += 200.0
    heart._sample()
    heart.progress(step=1)
    assert heart.stuck_s() == 200.0
    heart.observe(lambda: 1.0)
    heart._sample()
    assert heart.stuck_s() == 0.0


@pytest.mark.parametrize(("phase", "is_progress"), [(PhaseName.LOADING_DATA, True), (PhaseName.TRAINING, False)])
def test_work_inside_of_a_library_is_progress_of_loading_not_of_training(
    heart: Heartbeat, tmp_path: Path, phase: PhaseName, is_progress: bool
) -> None:
    file = tmp_path / "heartbeat.json"
    heart.start(file, every_s=0.2)
    heart.progress(phase=phase)
    started = time.monotonic()
    is_seen = False
    # A busy machine may give no fifth of a core for a while.
    while not is_seen and time.monotonic() - started < (30.0 if is_progress else 1.5):
        sum(range(10_000))
        is_seen = heart.stuck_s() < time.monotonic() - started - 0.3
    assert is_seen is is_progress


def test_saving_in_one_call_is_progress_in_training_too(heart: Heartbeat, tmp_path: Path) -> None:
    heart.start(tmp_path / "heartbeat.json", every_s=0.2)
    heart.progress(phase=PhaseName.TRAINING)
    with heart.inside_a_library():
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            (tmp_path / "weights").write_bytes(bytes(4_000_000))
        assert heart.stuck_s() < 1.0


def test_each_node_has_its_own_file_and_only_its_first_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heartbeat_file(tmp_path) == tmp_path / "heartbeat.json"
    monkeypatch.setenv("SKYPILOT_NODE_RANK", "2")
    assert heartbeat_file(tmp_path) == tmp_path / "heartbeat-2.json"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert heartbeat_file(tmp_path) is None


@pytest.mark.parametrize(
    ("left_s", "stuck_s", "expected"),
    [(1.0, 5.0, None), (0.0, 5.0, (None, 0)), (1.0, 11.0, ("The task hung: nothing has moved for 11 s", 1))],
)
def test_the_watch_ends_what_the_main_thread_cannot(
    left_s: float, stuck_s: float, expected: tuple[str | None, int] | None
) -> None:
    said: list[str | None] = []
    ends: list[int] = []
    steady = Clock()
    heart = Heartbeat(monotonic=steady)
    steady.now += stuck_s
    look = end_when_lost(left_s=lambda: left_s, hang_s=10.0, tell=said.append, end=ends.append, heart=heart)
    assert look() is (expected is not None)
    assert ends == ([] if expected is None else [expected[1]])
    assert [(one or "").split(" (")[0] for one in said] == ([] if expected is None else [expected[0] or ""])


def full_disk(_message: str | None) -> None:
    raise OSError(28, "No space left on device")


def stuck_lock(_message: str | None) -> None:
    time.sleep(60)


@pytest.mark.parametrize("tell", [full_disk, stuck_lock])
def test_a_last_word_that_cannot_be_said_keeps_no_cap_open(
    tell: Callable[[str | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ends: list[int] = []
    look = end_when_lost(
        left_s=lambda: -1.0, hang_s=None, tell=tell, end=ends.append, heart=Heartbeat(), last_word_s=0.3
    )
    assert look()
    assert ends == [0]
    assert "the last event" in capsys.readouterr().err


STUCK = """
import sys, time
import tasks.train, tasks.run
def hang(*arguments, **more):
    time.sleep(600)
tasks.run.run = hang
sys.exit(tasks.train.main(sys.argv[1:]))
"""


def run_stuck(job: Job, out: Path, guard: GuardChoice) -> tuple[int, list[Event], float]:
    return run_program(STUCK, job, out, guard)


def run_program(text: str, job: Job, out: Path, guard: GuardChoice) -> tuple[int, list[Event], float]:
    out.mkdir()
    (out / "job.json").write_text(replace(job, guard=guard).to_json())
    started = time.monotonic()
    command = [sys.executable, "-c", text, str(out / "job.json"), "--out", str(out)]
    done = subprocess.run(command, timeout=120, check=False, cwd=Path(__file__).parents[3])
    events = [parse_event(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return done.returncode, events, time.monotonic() - started


@pytest.mark.torch
def test_a_program_that_hangs_is_ended_at_its_cap(job: Job, tmp_path: Path) -> None:
    # The imports take most of these seconds.
    guard = GuardChoice(price_usd_per_hour=3600.0, max_usd=20.0, heartbeat_s=2.0, billing_started_s=time.time())
    status, events, took_s = run_stuck(job, tmp_path / "out", guard)
    assert (status, events[-1].data["outcome"]) == (0, "cap_reached")
    assert took_s <= 20.0 + guard.heartbeat_s + 1.0


@pytest.mark.torch
def test_a_program_that_hangs_fails_as_hung(job: Job, tmp_path: Path) -> None:
    status, events, _ = run_stuck(job, tmp_path / "out", GuardChoice(hang_s=3.0, heartbeat_s=1.0))
    assert status == 1
    assert "hung" in events[-1].data["message"]


UPLOADING = """
import sys, threading, time, types
import tasks.train
from tasks.protocol import EventType
run = types.ModuleType("tasks.run")
def finish(job, out, events, *arguments, **more):
    events.emit(EventType.FINISHED, outcome="completed", steps=3, best=None, training_s=1.0, total_s=1.0,
                peak_memory_bytes=None, output="model")
run.run = finish
sys.modules["tasks.run"] = run
class Store:
    def close(self):
        time.sleep(600)
tasks.train.open_run_store = lambda *arguments: Store()
sys.exit(tasks.train.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (GuardChoice(price_usd_per_hour=3600.0, max_usd=6.0, heartbeat_s=2.0), 0),
        (GuardChoice(hang_s=9.0, heartbeat_s=1.0), 1),
    ],
    ids=["cap", "hang"],
)
def test_a_limit_that_falls_into_the_last_upload_changes_no_outcome(
    job: Job, tmp_path: Path, guard: GuardChoice, expected: int
) -> None:
    if guard.max_usd is not None:
        guard = replace(guard, billing_started_s=time.time())
    status, events, _ = run_program(UPLOADING, job, tmp_path / "out", guard)
    assert status == expected
    assert [(event.type, event.data["outcome"]) for event in events] == [(EventType.FINISHED, "completed")]
