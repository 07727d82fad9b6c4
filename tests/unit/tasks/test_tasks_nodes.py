"""Several nodes as templates/sky starts them: two homes on one machine, each with a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from tasks import launch
from tasks.job import Job
from tasks.protocol import Event, EventType, Outcome, parse_event

pytestmark = pytest.mark.torch
_ROOT = Path(__file__).parents[3]
_LIMIT_S = 240.0


@dataclass(frozen=True, slots=True)
class Node:
    """One machine: a home, and the folder that was uploaded to it."""

    rank: int
    home: Path
    run_id: str
    """Decides the port, so that it differs between tests that run side by side."""

    @property
    def run_dir(self) -> Path:
        return self.home / "tunefare-run" / self.run_id

    def start(self, job: Job) -> subprocess.Popen[str]:
        """run.sh with what SkyPilot gives it."""
        work = self.home / "work"
        work.mkdir(parents=True, exist_ok=True)
        (work / "job.json").write_text(job.to_json())
        return subprocess.Popen(
            ["bash", "-c", script("run.sh")],
            cwd=work,
            env=os.environ
            | {
                "HOME": str(self.home),
                "PYTHONPATH": str(_ROOT),
                "TUNEFARE_RUN_ID": self.run_id,
                "TUNEFARE_DEADMAN": "off",
                "TUNEFARE_PYTHON": sys.executable,
                "TUNEFARE_MAX_DURATION_S": "300",
                "SKYPILOT_NUM_NODES": "2",
                "SKYPILOT_NODE_RANK": str(self.rank),
                "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1",
                "SKYPILOT_NUM_GPUS_PER_NODE": "0",
                "ACCELERATE_USE_CPU": "true",
                "CUDA_VISIBLE_DEVICES": "",
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def script(name: str) -> str:
    return (_ROOT / "templates" / "sky" / name).read_text()


@pytest.fixture
def nodes(tmp_path: Path) -> list[Node]:
    return [Node(rank, tmp_path / f"home {rank}", f"demo-{os.getpid()}") for rank in range(2)]


Starts = Callable[[list[Job]], list[subprocess.Popen[str]]]


@pytest.fixture
def start_nodes(nodes: list[Node]) -> Iterator[Starts]:
    """Starts a job on each node; whatever still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(jobs: list[Job]) -> list[subprocess.Popen[str]]:
        fresh = [node.start(job) for node, job in zip(nodes, jobs, strict=True)]
        started.extend(fresh)
        return fresh

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def events_of(node: Node) -> list[Event]:
    file = node.run_dir / "events.jsonl"
    if not file.exists():
        return []
    return [parse_event(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def wait_for(condition: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.05)


def ended(processes: list[subprocess.Popen[str]]) -> list[int]:
    for process in processes:
        process.communicate(timeout=_LIMIT_S)
    return [process.returncode for process in processes]


def steps(node: Node) -> list[int]:
    return [event.data["step"] for event in events_of(node) if event.type is EventType.TRAIN]


def trainers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The training processes of a node: `timeout` has the launcher, which has them."""
    return psutil.Process(process.pid).children(recursive=True)[1:]


def test_nodes_without_a_common_folder_stop_go_on_and_end_together(
    nodes: list[Node], start_nodes: Starts, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    training = replace(job.training, max_steps=100_000, eval_every_steps=100_000, sharding="fsdp")
    # What SkyPilot starts names no device: nodes whose torch finds none share the work all the same.
    job = replace(job, training=training)
    running = start_nodes([job, job])
    wait_for(lambda: len(steps(nodes[0])) > 3)
    environment = os.environ | {"HOME": str(nodes[0].home), "TUNEFARE_RUN_ID": nodes[0].run_id}
    command = ["bash", "-c", script("stop.sh")]
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "asked\n"
    assert ended(running) == [0, 0]
    finished = events_of(nodes[0])[-1]
    assert finished.data["outcome"] == Outcome.STOPPED
    assert (nodes[0].run_dir / "model" / "model.safetensors").is_file()
    assert {file.name for file in nodes[1].run_dir.iterdir()} == {"job.json", "pid-1", "heartbeat-1.json"}

    running = start_nodes([job, job])
    wait_for(lambda: max(steps(nodes[0])) > finished.data["steps"])
    for trainer in trainers(running[1]):
        trainer.kill()
    assert ended(running) == [1, 1]
    events = events_of(nodes[0])
    started = [event.data for event in events if event.type is EventType.STARTED]
    assert [data["resumed_from_step"] for data in started] == [None, finished.data["steps"]]
    assert [data["device_count"] for data in started] == [2, 2]
    assert events[-1].type is EventType.FAILED


def test_what_one_node_cannot_read_is_the_failure_of_the_run(
    nodes: list[Node], start_nodes: Starts, job: Job, tmp_path: Path
) -> None:
    job = replace(job, device="cpu")
    elsewhere = replace(job, data=replace(job.data, source=str(tmp_path / "missing.csv")))
    assert ended(start_nodes([job, elsewhere])) == [2, 2]
    failed = events_of(nodes[0])[-1]
    assert failed.type is EventType.FAILED
    assert failed.data["code"] == "data_not_found"
    assert "missing.csv" in failed.data["message"]


def test_nodes_that_share_a_home_set_up_once(tmp_path: Path) -> None:
    programs = tmp_path / ".local" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "requirements.txt").write_text("torch")
    uv = programs / "uv"
    # A second node that began in between would find a folder without its mark, and clear it.
    uv.write_text(
        '#!/bin/bash\necho "$1" >> "$HOME/called"\nsleep 0.3\nif [ "$1" = venv ]; then mkdir -p "${@: -1}"; fi\n'
    )
    uv.chmod(0o755)
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "TUNEFARE_RUN_ID": "demo-1",
        "TUNEFARE_DEADMAN": "off",
        "TUNEFARE_SETUP_TIMEOUT_S": "60",
    }
    command = ["bash", "-c", script("setup.sh")]
    nodes = [subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [node.wait(timeout=60) for node in nodes] == [0, 0]
    assert (tmp_path / "called").read_text().split() == ["venv", "pip"]


@pytest.fixture
def run_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], int]]:
    """Launches two processes of a program in bash in place of the training program; gives the exit status."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(program: str) -> int:
        file = tmp_path / "python"
        file.write_text(f"#!/bin/bash\ncd '{tmp_path}'\n{program}\n")
        file.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(file))
        nodes = ["--nodes", "2", "--node-rank", "1", "--processes", "2", "--master", "first:4711"]
        return launch.main([*nodes, "--", "job.json", "--out", "there"])

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_each_process_learns_its_place(run_fake: Callable[[str], int], tmp_path: Path) -> None:
    said = 'echo "$MASTER_ADDR:$MASTER_PORT $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $@" > "place-$RANK"'
    assert run_fake(said) == 0
    for rank, local_rank in ((2, 0), (3, 1)):
        place = (tmp_path / f"place-{rank}").read_text()
        assert place == f"first:4711 {rank}/4 {local_rank}/2 -m tasks.train job.json --out there\n"


def test_the_status_is_that_of_the_process_that_failed(
    run_fake: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_fake('[ "$RANK" != 3 ] || exit 3; sleep 0.3') == 3
    monkeypatch.setattr(launch, "GRACE_S", 0.2)
    assert run_fake('[ "$RANK" != 3 ] || exit 2; exec sleep 60') == 2
    assert run_fake("kill -KILL $$") == 1


def test_a_signal_is_handed_on_and_saving_waited_for(run_fake: Callable[[str], int], tmp_path: Path) -> None:
    def stop() -> None:
        wait_for(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in (2, 3)))
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    trap = "trap 'sleep 0.5; touch saved-$RANK; exit 0' TERM; touch ready-$RANK; while :; do sleep 0.05; done"
    assert run_fake(trap) == 0
    stopper.join()
    assert all((tmp_path / f"saved-{rank}").exists() for rank in (2, 3))
