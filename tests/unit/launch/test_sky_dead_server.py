"""A queue manager whose API server was killed gives its port back; one whose server lives keeps it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from manager.launch.sky_dead_server import end_orphaned_queues

SERVER = """
import multiprocessing, socket, sys, time

def listen(port_of):
    with socket.socket() as queues:
        queues.bind(("127.0.0.1", 0))
        queues.listen()
        port_of.put(queues.getsockname()[1])
        time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    port_of = context.Queue()
    child = context.Process(target=listen, args=(port_of,))
    child.start()
    print(child.pid, port_of.get(), flush=True)
    time.sleep(600)
"""


class Server:
    """A program with a child that listens, as SkyPilot's API server has one for its queues."""

    def __init__(self, folder: Path) -> None:
        program = folder / "server.py"
        program.write_text(SERVER)
        self.process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        pid, port = self.process.stdout.readline().split()
        self.queues, self.port = psutil.Process(int(pid)), int(port)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        if self.queues.is_running():
            self.queues.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.close()


def test_the_queues_of_a_killed_server_are_ended(server: Server) -> None:
    server.kill()
    assert end_orphaned_queues(lambda: server.port) == [server.queues.pid]
    assert not server.queues.is_running()
    assert end_orphaned_queues(lambda: server.port) == []


def test_the_queues_of_a_living_server_are_left_alone(server: Server) -> None:
    assert end_orphaned_queues(lambda: server.port) == []
    assert server.queues.is_running()


def test_a_process_on_another_port_is_left_alone(server: Server) -> None:
    server.kill()
    assert end_orphaned_queues(lambda: server.port + 1) == []
    assert server.queues.is_running()
