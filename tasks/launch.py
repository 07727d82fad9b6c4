"""`python -m tasks.launch --processes N -- JOB.json --out DIR`: `tasks.train` on each device of a machine.

Started once on each node, with the same `--master`, the first node's address and a free port there. Unlike torchrun it
hands SIGTERM on and then waits as long as saving takes, and its exit status is that of the process that failed first.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from tasks.protocol import EXIT_DONE, EXIT_INTERNAL

GRACE_S = 60.0
"""After one process has failed, the others get this long to end by themselves (`tasks.alarm`)."""
_PERIOD_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run the processes of this node to their end; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tasks.launch", description="Tune a model on several devices.")
    parser.add_argument("--processes", type=int, required=True, metavar="N", help="devices of this node")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes altogether")
    parser.add_argument("--node-rank", type=int, default=0, metavar="N", help="number of this node, from 0")
    parser.add_argument("--master", default="127.0.0.1:29511", metavar="HOST:PORT", help="where the first node listens")
    parser.add_argument("train", nargs="+", metavar="ARGUMENT", help="of tasks.train, after --")
    asked = parser.parse_args(arguments)
    host, _, port = asked.master.rpartition(":")
    children: list[subprocess.Popen[bytes]] = []
    _hand_on_signals(children)
    for local_rank in range(asked.processes):
        place = {
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "WORLD_SIZE": asked.nodes * asked.processes,
            "RANK": asked.node_rank * asked.processes + local_rank,
            "LOCAL_RANK": local_rank,
            "LOCAL_WORLD_SIZE": asked.processes,
            # Numerical libraries would each take all cores for every process.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", _threads(asked.processes)),
        }
        environment = os.environ | {name: str(value) for name, value in place.items()}
        children.append(subprocess.Popen([sys.executable, "-m", "tasks.train", *asked.train], env=environment))
    return _wait(children)


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    """Until all have ended; the status of the first one that failed."""
    status, failed_s = EXIT_DONE, None
    while None in (statuses := [child.poll() for child in children]):
        if failed_s is None and any(statuses):
            status, failed_s = next(one for one in statuses if one), time.monotonic()
        if failed_s is not None and time.monotonic() - failed_s > GRACE_S:
            for child in children:
                child.kill()
        time.sleep(_PERIOD_S)
    status = status or next((one for one in statuses if one), EXIT_DONE)
    # A signal's number is no exit status.
    return status if status >= 0 else EXIT_INTERNAL


def _hand_on_signals(children: list[subprocess.Popen[bytes]]) -> None:
    def hand_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)


def _threads(processes: int) -> str:
    return str(max(1, len(os.sched_getaffinity(0)) // processes))


if __name__ == "__main__":
    sys.exit(main())
