"""The question at a terminal: answered by a line, and never read by a process that stands in the background."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ASKER = """
import sys, time
from manager.cli.requote_question import TerminalQuestion
question = TerminalQuestion()
print("asked", flush=True)
while question.answer() is None:
    time.sleep(0.05)
print("answered", question.answer(), flush=True)
"""
SHELL = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen([sys.executable, "-c", sys.argv[1]], process_group=0)
time.sleep(float(sys.argv[2]))
_, status = os.waitpid(job.pid, os.WNOHANG | os.WUNTRACED)
print("stopped" if status and os.WIFSTOPPED(status) else "alive", flush=True)
os.tcsetpgrp(0, job.pid)
job.wait(30)
"""


@pytest.mark.parametrize(("typed", "answer"), [(b"y\n", "True"), (b"maybe\nno\n", "False")])
def test_in_the_background_it_waits_and_in_front_it_is_answered(typed: bytes, answer: str) -> None:
    child, master = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", SHELL, ASKER, "3"])
    said, deadline = b"", time.monotonic() + 60
    try:
        while b"answered" not in said or not said.endswith(b"\n"):
            assert time.monotonic() < deadline, said
            if select.select([master], [], [], 0.1)[0]:
                said += os.read(master, 4096)
            if typed and b"asked" in said:
                os.write(master, typed)
                typed = b""
    finally:
        os.close(master)
        os.waitpid(child, 0)
    told = said.decode().replace("\r", "").splitlines()
    assert "alive" in told, told
    assert f"answered {answer}" in told
    assert told.index("alive") < told.index(f"answered {answer}")
