"""One of several processes that run `tasks.train` on a list of jobs; started by `train_together`, talks over gloo.

Starting a process costs seconds of imports, so that the jobs of a test share their processes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.job import Job

_PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the program on all processes."""

    job: str
    """The job file's text."""
    out: str
    stop_at: int | None = None
    """The second process alone gets SIGTERM before this optimizer step, counted from 1 in this start."""
    fail_at: int | None = None
    """The second process runs out of memory there; nothing can be started afterwards."""


def start(job: Job, out: Path, **events: int) -> Start:
    """A start of this job in this folder."""
    return Start(job=job.to_json(), out=str(out), **events)


def train_together(starts: list[Start], folder: Path) -> list[list[int | None]]:
    """Run the starts one after the other on two processes.

    Returns:
        Exit status of each process, per start; None where a process ended before.
    """
    record = {"starts": [asdict(one) for one in starts], "ports": _free_ports(len(starts))}
    (folder / "starts.json").write_text(json.dumps(record))
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "MASTER_ADDR": "127.0.0.1",
        "WORLD_SIZE": str(_PROCESSES),
    }
    command = [sys.executable, "-m", "tests.support.trained_together", str(folder)]
    running = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.DEVNULL)
        for rank in range(_PROCESSES)
    ]
    try:
        for process in running:
            process.wait(timeout=240)
    finally:
        for process in running:
            process.kill()
    found = []
    for number in range(len(starts)):
        files = [folder / f"status-{number}-{rank}" for rank in range(_PROCESSES)]
        found.append([int(file.read_text()) if file.exists() else None for file in files])
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _run(folder: Path) -> None:
    import torch
    from accelerate.state import AcceleratorState  # type: ignore[import-untyped]

    import tasks.alarm
    from tasks.train import main

    torch.set_num_threads(1)
    tasks.alarm._GRACE_S = 0.5
    record = json.loads((folder / "starts.json").read_text())
    rank = int(os.environ["RANK"])
    for number, (values, port) in enumerate(zip(record["starts"], record["ports"], strict=True)):
        one = Start(**values)
        os.environ["MASTER_PORT"] = str(port)
        AcceleratorState._reset_state(reset_partial_state=True)
        _disturb(one if rank == 1 else None)
        file = folder / f"job-{number}-{rank}.json"
        file.write_text(one.job)
        status = main([str(file), "--out", one.out if rank == 0 else f"{one.out}-elsewhere"])
        (folder / f"status-{number}-{rank}").write_text(str(status))
        if rank == 1 and one.fail_at is not None:
            # Its connections stay open, so that the other process waits for it in vain.
            time.sleep(4.0)


def _disturb(one: Start | None) -> None:
    """Have steps of this process as usual, or do what the start says just before one of them."""
    import tasks.loop

    loop: Any = tasks.loop
    original = getattr(loop, "undisturbed", loop._optimizer_step)
    loop.undisturbed = original
    calls = [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if one is not None and calls[0] == one.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if one is not None and calls[0] == one.fail_at:
            raise MemoryError("a device of the second process is full")
        return original(*arguments)

    loop._optimizer_step = step


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
