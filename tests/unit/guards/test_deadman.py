"""The dead-man timer itself, with small times: when it ends a trainer, when a machine, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from tests.support.guarded_machine import OBEDIENT, Machine, wait_for


def test_at_the_cap_the_trainer_is_asked_then_killed_and_the_machine_ended(machine: Machine) -> None:
    trainer = machine.train()
    started = time.monotonic()
    machine.arm(TUNEFARE_ALLOWED_S="4", TUNEFARE_WRAP_UP_S="2")
    wait_for(lambda: machine.said, what="SIGTERM")
    asked_s = time.monotonic() - started
    wait_for(lambda: machine.calls, what="the end of the machine")
    ended_s = time.monotonic() - started
    assert 2.9 < asked_s < 4.0
    assert 3.9 < ended_s < 5.0
    assert trainer.wait(10) == -signal.SIGKILL
    assert machine.calls[0].endswith("deadman_end.py skypilot")
    wait_for(lambda: "sudo -n shutdown -h now" in machine.calls, what="the last way")
    assert (machine.run_dir / "stopped-by").read_text().startswith("cap: ")


def test_a_trainer_that_heeds_the_signal_is_not_killed(machine: Machine) -> None:
    trainer = machine.train(OBEDIENT)
    machine.arm(TUNEFARE_ALLOWED_S="3", TUNEFARE_WRAP_UP_S="2")
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert trainer.wait(10) == 0
    assert "SIGKILL" not in machine.log


def test_a_machine_that_cannot_be_ended_is_tried_again_and_again(machine: Machine) -> None:
    for name in ("sudo", "shutdown"):
        machine.stub(name, "exit 1")
    machine.arm(TUNEFARE_ALLOWED_S="0.5")
    wait_for(lambda: machine.calls.count("shutdown -h now") >= 3, what="three attempts")
    assert "sudo -n poweroff -f" in machine.calls
    assert "failed, exit status 1" in machine.log


def test_it_is_armed_once_and_again_when_it_was_killed_with_the_same_end(machine: Machine) -> None:
    machine.arm(TUNEFARE_ALLOWED_S="6")
    wait_for(lambda: (machine.run_dir / ".deadman" / "pid").exists(), what="the timer")
    started = time.monotonic()
    machine.arm(TUNEFARE_ALLOWED_S="6")
    time.sleep(0.5)
    (timer,) = machine.timers()
    timer.send_signal(signal.SIGKILL)
    timer.wait(5)
    time.sleep(1.5)
    machine.arm(TUNEFARE_ALLOWED_S="6")
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert 5.0 < time.monotonic() - started < 7.0


def test_it_has_a_session_of_its_own_and_outlives_signals_and_its_parent(machine: Machine) -> None:
    machine.arm(TUNEFARE_ALLOWED_S="60")
    wait_for(lambda: len(machine.timers()) == 1, what="the timer")
    (timer,) = machine.timers()
    wait_for(lambda: os.getsid(timer.pid) == timer.pid, what="a session")
    assert timer.ppid() != os.getpid()
    wait_for(lambda: (machine.run_dir / ".deadman" / "pid").exists(), what="its start")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        timer.send_signal(number)
    time.sleep(0.5)
    assert timer.is_running()


@pytest.mark.parametrize(
    ("end_at_s", "expected_s"),
    [
        (5.0, 5.0),  # billed for 15 s before the timer was armed
        (5000.0, 20.0),  # the machine's clock is behind
        (-5000.0, 2.0),  # or ahead: a launch cannot have taken that long
        (3.0, 3.0),
    ],
)
def test_a_wrong_clock_neither_lengthens_nor_empties_the_time(
    machine: Machine, end_at_s: float, expected_s: float
) -> None:
    machine.arm(
        TUNEFARE_ALLOWED_S="20",
        TUNEFARE_LAUNCH_TIMEOUT_S="18",
        TUNEFARE_CLOCK_SLACK_S="0",
        TUNEFARE_END_AT=f"{int(time.time() + end_at_s)}",
    )
    wait_for(lambda: "armed" in machine.log, what="the timer")
    left_s = int(machine.log.partition("the cap is ")[2].partition(" s")[0])
    assert expected_s - 2 <= left_s <= expected_s


def test_a_clock_that_was_right_ends_a_machine_that_was_frozen(machine: Machine) -> None:
    # What a thawed machine sees: little uptime has passed, and the clock says that the end is long over.
    machine.arm(TUNEFARE_ALLOWED_S="600", TUNEFARE_END_AT=f"{int(time.time()) + 590}")
    wait_for(lambda: (machine.run_dir / ".deadman" / "armed").exists(), what="the timer")
    (timer,) = machine.timers()
    timer.send_signal(signal.SIGKILL)
    timer.wait(5)
    machine.arm(TUNEFARE_ALLOWED_S="600", TUNEFARE_END_AT=f"{int(time.time()) - 1}")
    wait_for(lambda: machine.calls, what="the end of the machine")


def test_without_a_sign_of_life_after_the_set_up_the_machine_is_ended(machine: Machine) -> None:
    machine.arm(TUNEFARE_ALLOWED_S="600", TUNEFARE_SETUP_TIMEOUT_S="1", TUNEFARE_STARTUP_S="0", TUNEFARE_IDLE_S="0.5")
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert "setup: no sign of life" in machine.log


def test_what_an_earlier_start_left_is_no_sign_of_life(machine: Machine) -> None:
    machine.run_dir.mkdir(parents=True)
    machine.beat()
    machine.arm(TUNEFARE_SETUP_TIMEOUT_S="1", TUNEFARE_STARTUP_S="0", TUNEFARE_IDLE_S="0.3")
    wait_for(lambda: machine.calls, what="the end of the machine")


def test_a_trainer_that_falls_silent_is_ended_and_the_machine_when_nobody_comes(machine: Machine) -> None:
    trainer = machine.train(OBEDIENT)
    machine.arm(TUNEFARE_SILENCE_S="1.5", TUNEFARE_IDLE_S="1")
    for number in range(20):
        machine.beat(progress_at=number)
        time.sleep(0.1)
    assert trainer.poll() is None
    wait_for(lambda: trainer.poll() is not None, what="the trainer's end")
    assert "silence: no sign of life" in machine.log
    took_s = wait_for(lambda: machine.calls, what="the end of the machine")
    assert took_s > 0.5


@pytest.mark.parametrize(("moves", "reason"), [("busy_at", "no step"), ("progress_at", "the accelerator")])
def test_no_progress_or_an_idle_accelerator_count_as_a_hang(machine: Machine, moves: str, reason: str) -> None:
    trainer = machine.train(OBEDIENT)
    machine.arm(TUNEFARE_HANG_S="1")
    deadline = time.monotonic() + 10
    while trainer.poll() is None and time.monotonic() < deadline:
        now = time.monotonic()
        machine.beat(progress_at=now if moves == "progress_at" else 1.0, busy_at=now if moves == "busy_at" else 1.0)
        time.sleep(0.1)
    assert trainer.wait(1) == 0
    assert f"hang: {reason}" in machine.log
    assert machine.calls == []


@pytest.mark.parametrize("phase", ["training", "loading_model"])
def test_a_healthy_job_is_left_alone(machine: Machine, phase: str) -> None:
    trainer = machine.train(OBEDIENT)
    machine.arm(TUNEFARE_HANG_S="1", TUNEFARE_SILENCE_S="1", TUNEFARE_ALLOWED_S="600")
    until = time.monotonic() + 4
    while time.monotonic() < until:
        now = time.monotonic()
        # An accelerator is not needed while weights are being downloaded.
        machine.beat(progress_at=now, busy_at=now if phase == "training" else 1.0, phase=phase)
        time.sleep(0.1)
    assert trainer.poll() is None
    assert machine.calls == []


def test_results_that_are_being_copied_keep_the_machine_but_not_past_the_cap(machine: Machine) -> None:
    machine.stub("pgrep", f"test -e {machine.folder / 'copying'}")
    (machine.folder / "copying").touch()
    trainer = machine.train("sleep 0.5")
    machine.arm(TUNEFARE_IDLE_S="0.5", TUNEFARE_ALLOWED_S="5")
    machine.beat()
    trainer.wait(10)
    time.sleep(2)
    assert not [call for call in machine.calls if not call.startswith("pgrep")]
    wait_for(lambda: "sudo -n shutdown -h now" in machine.calls, what="the end of the machine")
    assert "cap: reached" in machine.log


def test_a_copy_that_never_ends_does_not_keep_the_machine(machine: Machine) -> None:
    machine.stub("pgrep")
    trainer = machine.train("sleep 0.5")
    machine.arm(TUNEFARE_IDLE_S="0.5", TUNEFARE_FETCH_MOST_S="2", TUNEFARE_ALLOWED_S="600")
    machine.beat()
    trainer.wait(10)
    took_s = wait_for(lambda: "sudo -n shutdown -h now" in machine.calls, what="the end of the machine")
    assert took_s > 1.8
    assert "idle: nobody came for the results" in machine.log


def test_a_trainer_that_no_signal_ends_is_ended_with_its_machine(machine: Machine) -> None:
    # As a process that waits for a disk or a driver: it is killed, and lives.
    unkillable = machine.folder / "unkillable.sh"
    unkillable.write_text('kill() { [ "$1" = -KILL ] || builtin kill "$@"; }')
    trainer = machine.train()
    machine.arm(
        TUNEFARE_HANG_S="1",
        TUNEFARE_GRACE_S="0.3",
        TUNEFARE_DYING_S="1",
        TUNEFARE_ALLOWED_S="600",
        BASH_ENV=str(unkillable),
    )
    machine.beat()
    wait_for(lambda: machine.calls, what="the end of the machine")
    assert trainer.poll() is None
    assert machine.log.count("SIGKILL to the trainer") == 1
    assert "the trainer lives 1 s after SIGKILL" in machine.log


def test_a_killed_trainer_leaves_its_results_to_be_fetched(machine: Machine) -> None:
    trainer = machine.train()
    machine.arm(TUNEFARE_HANG_S="1", TUNEFARE_GRACE_S="0.3", TUNEFARE_DYING_S="0.5", TUNEFARE_IDLE_S="3")
    machine.beat()
    assert trainer.wait(10) == -signal.SIGKILL
    took_s = wait_for(lambda: machine.calls, what="the end of the machine")
    assert took_s > 2
    assert "idle: nobody came for the results" in machine.log


def test_a_rented_machine_is_ended_also_when_the_folder_of_its_run_vanishes(machine: Machine) -> None:
    trainer = machine.train(OBEDIENT)
    machine.arm(TUNEFARE_SILENCE_S="1", TUNEFARE_IDLE_S="0.5", TUNEFARE_ALLOWED_S="600")
    machine.beat()
    wait_for(lambda: "armed" in machine.log, what="the timer")
    time.sleep(0.5)
    shutil.rmtree(machine.run_dir)
    wait_for(lambda: "sudo -n shutdown -h now" in machine.calls, what="the end of the machine")
    assert trainer.wait(10) == 0
    # What asks the provider is at hand without its file.
    assert machine.calls[0].startswith('python3 -c """Takes the machine it runs on away')


def test_beside_a_local_run_the_timer_goes_with_its_folder(machine: Machine) -> None:
    machine.arm(TUNEFARE_LOCAL_PYTHON="/bin/true", TUNEFARE_CLOUD="local", TUNEFARE_ALLOWED_S="600")
    wait_for(lambda: len(machine.timers()) == 1, what="the timer")
    shutil.rmtree(machine.run_dir)
    wait_for(lambda: not machine.timers(), what="its end")
    assert machine.calls == []


def test_on_slurm_the_job_is_cancelled_and_the_node_left_alone(machine: Machine) -> None:
    machine.stub("scancel")
    machine.stub("squeue", "echo RUNNING")
    machine.arm(TUNEFARE_CLOUD="slurm", SLURM_JOB_ID="42", TUNEFARE_ALLOWED_S="0.5")
    wait_for(lambda: machine.calls.count("scancel 42") >= 2, what="two attempts")
    assert not [call for call in machine.calls if "shutdown" in call or "poweroff" in call]


def test_another_node_has_its_own_files(machine: Machine) -> None:
    machine.arm(TUNEFARE_ALLOWED_S="600", SKYPILOT_SETUP_NODE_RANK="1")
    wait_for(lambda: (machine.run_dir / "deadman-1.log").exists(), what="its log")
    machine.arm(TUNEFARE_ALLOWED_S="600")
    wait_for(lambda: len(machine.timers()) == 2, what="both timers")
