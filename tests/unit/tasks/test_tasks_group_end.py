"""The end of a group of processes: nobody joins Gloo's threads while they wait for the interpreter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.connections import python_path

ROUNDS = 30
"""Without the order of `tasks.together` one of some twenty hangs."""
PROGRAM = """
import os, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tasks.together import end_group, let_go_of_group

rank = int(os.environ["RANK"])
store = dist.TCPStore("127.0.0.1", int(sys.argv[1]), 2, is_master=rank == 0)


class Accelerator:
    def wait_for_everyone(self):
        dist.barrier()

    def end_training(self):
        dist.destroy_process_group()


def train(number):
    dist.init_process_group("gloo", store=dist.PrefixStore(str(number), store), rank=rank, world_size=2)
    model = DistributedDataParallel(torch.nn.Sequential(*(torch.nn.Linear(32, 32) for _ in range(4))))
    for _ in range(2):
        model(torch.randn(4, 32)).sum().backward()
    for _ in range(3):
        dist.all_gather([torch.empty(64), torch.empty(64)], torch.ones(64))
    end_group(Accelerator())


for number in range(int(sys.argv[2])):
    train(number)
    let_go_of_group()
"""


def test_it_never_hangs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
    command = [*launcher, str(program), str(port), str(ROUNDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
