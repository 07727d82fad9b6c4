"""Plays trials: launch, wait for the moment, do it, recover as a user would, look at what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.faults.examine import broken, examine, missed
from tests.faults.inflict import inflict, is_over, said, start, wait_for_run
from tests.faults.stage import Scene, Stage, read_run
from tests.faults.trials import Fault, Finding, Trial


def measure(stage: Stage) -> float:
    """Seconds from the creation of an undisturbed run to its end."""
    trial = Trial(number=0, fault=Fault.KILL_CLIENT, share=0, duration_share=0, adopts=False)
    with stage.scene(trial) as scene:
        front = start(scene, trial.fault)
        created_s = wait_for_run(scene, front)
        _wait_for_end(scene, 1200.0)
        record = read_run(scene.home)
        assert record is not None, "the ledger has it"
        assert str(record.state) == "succeeded", f"an undisturbed run ends as {record.state}: {said(front)}"
        return record.history[-1].at_s - created_s


def play(stage: Stage, trial: Trial, length_s: float) -> Finding:
    """One trial; what should not happen is told as a defect in its finding."""
    with stage.scene(trial) as scene:
        try:
            return _played(scene, trial, length_s)
        except AssertionError as error:
            return broken(scene, trial, str(error))


def _played(scene: Scene, trial: Trial, length_s: float) -> Finding:
    front = start(scene, trial.fault)
    created_s = wait_for_run(scene, front)
    time.sleep(max(0.0, created_s + trial.share * length_s - time.time()))
    if is_over(scene):
        return missed(scene, trial)
    moment_s = time.time() - created_s
    if not inflict(scene, front, trial):
        return missed(scene, trial)
    codes = _recover(scene, trial)
    return examine(scene, trial, moment_s, codes)


def play_all(
    stage: Stage,
    trials: Iterable[Trial],
    length_s: float,
    *,
    jobs: int,
    until_s: float,
    tell: Callable[[Finding], None],
) -> Iterator[Finding]:
    """All trials that can be begun before a moment of the monotonic clock, some at a time, in their order."""

    def one(trial: Trial) -> Finding | None:
        if time.monotonic() >= until_s:
            return None
        finding = play(stage, trial, length_s)
        tell(finding)
        return finding

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        yield from (finding for finding in pool.map(one, trials) if finding is not None)


def _recover(scene: Scene, trial: Trial) -> list[int]:
    """What a user types, or a timer does; exit codes."""
    if trial.adopts or trial.fault is Fault.STOP_CLIENT:
        code = scene.cli.run("watch", "--once", timeout_s=scene.patience_s).code
        _wait_for_end(scene, scene.patience_s)
        return [code]
    done = scene.cli.run("reconcile", "--end", timeout_s=scene.patience_s)
    return [done.code]


def _wait_for_end(scene: Scene, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_over(scene) and time.monotonic() < deadline:
        time.sleep(0.2)
