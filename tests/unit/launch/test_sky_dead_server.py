"""Queues and executors whose API server was killed are ended; those whose server lives are left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from manager.launch.sky_dead_server import end_orphans

SERVER = """
import multiprocessing, socket, sys, time

def listen(port_of, state, title):
    if title:
        import setproctitle
        setproctitle.setproctitle(title)
    with open(state, "w"), socket.socket() as queues:
        queues.bind(("127.0.0.1", 0))
        queues.listen()
        port_of.put(queues.getsockname()[1])
        time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    port_of = context.Queue()
    child = context.Process(target=listen, args=(port_of, *sys.argv[1:]))
    child.start()
    print(child.pid, port_of.get(), flush=True)
    time.sleep(600)
"""


class Server:
    """A program with a child that listens, as SkyPilot's API server has one for its queues."""

    def __init__(self, folder: Path, title: str = "") -> None:
        program = folder / "server.py"
        program.write_text(SERVER)
        command = [sys.executable, str(program), str(folder / "state.db"), title]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        pid, port = self.process.stdout.readline().split()
        self.child, self.port = psutil.Process(int(pid)), int(port)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        if self.child.is_running():
            self.child.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.close()


def end(server: Server, folder: Path, *, off: int = 0) -> list[int]:
    return end_orphans(port=lambda: server.port + off, folder=folder)


def test_the_queues_of_a_killed_server_are_ended(server: Server, tmp_path: Path) -> None:
    server.kill()
    assert end(server, tmp_path) == [server.child.pid]
    assert not server.child.is_running()
    assert end(server, tmp_path) == []


def test_the_queues_of_a_living_server_are_left_alone(server: Server, tmp_path: Path) -> None:
    assert end(server, tmp_path) == []
    assert server.child.is_running()


def test_a_process_on_another_port_is_left_alone(server: Server, tmp_path: Path) -> None:
    server.kill()
    assert end(server, tmp_path, off=1) == []
    assert server.child.is_running()


def test_an_executor_of_a_killed_server_is_ended_and_that_of_a_living_one_or_of_another_folder_is_not(
    tmp_path: Path,
) -> None:
    pytest.importorskip("setproctitle")
    server = Server(tmp_path, title="SkyPilot:executor:long:1")
    try:
        assert end(server, tmp_path) == []
        server.kill()
        assert end(server, tmp_path / "another") == []
        assert server.child.is_running()
        assert end(server, tmp_path) == [server.child.pid]
        assert not server.child.is_running()
    finally:
        server.close()
