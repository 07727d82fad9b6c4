"""A machine that a controller replaces: its timer lets the controller take it away; one that comes too late ends."""

from __future__ import annotations

import subprocess
import time
from importlib.resources import files

from tests.support.guarded_machine import OBEDIENT, Machine, wait_for


def test_the_controller_is_given_time_before_the_machine_ends_itself(machine: Machine) -> None:
    trainer = machine.train(OBEDIENT)
    started = time.monotonic()
    machine.arm(TUNEFARE_ALLOWED_S="2", TUNEFARE_WRAP_UP_S="1", TUNEFARE_MANAGED_LEAVE_S="3")
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert trainer.wait(10) == 0
    assert time.monotonic() - started > 4.9
    assert "leaving the machine to SkyPilot's controller for 3 s" in machine.log


def test_a_machine_that_comes_late_has_what_is_left_and_not_a_wrong_clock(machine: Machine) -> None:
    machine.train(OBEDIENT)
    started = time.time()
    machine.arm(
        TUNEFARE_ALLOWED_S="3600",
        TUNEFARE_LAUNCH_TIMEOUT_S="3600",
        TUNEFARE_END_AT=f"{started + 3:.0f}",
        TUNEFARE_WRAP_UP_S="1",
        TUNEFARE_MANAGED_LEAVE_S="0",
    )
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert 2 <= time.time() - started < 6


def test_a_machine_that_begins_after_the_end_fails_its_set_up(machine: Machine) -> None:
    folder = machine.folder / "upload"
    folder.mkdir()
    text = (files("templates") / "sky" / "setup.sh").read_text(encoding="utf-8")
    over = {"TUNEFARE_MANAGED_LEAVE_S": "3", "TUNEFARE_END_AT": f"{time.time() - 1:.0f}"}
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=machine.environment(**over), capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "was reached before this machine began" in done.stderr
    assert not machine.timers()
