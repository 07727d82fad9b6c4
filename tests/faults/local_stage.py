"""The local engine: a small model is trained for some seconds in a state folder on a disk of its own (as root)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from manager.launch.local_process import is_alive, read_leader
from manager.runs.records import RunRecord
from tasks.protocol import EVENTS_FILE
from tests.faults.inflict import sleep
from tests.faults.stage import seqs_of
from tests.faults.trials import LOCAL_FAULTS, Fault, Trial
from tests.support.cli import Cli, trainers_of, write_news, write_run_file, write_tiny_model

TRAINING = {"epochs": 12, "eval_every_steps": 60, "checkpoint_every_steps": 15}
FULL_S = (2.0, 8.0)
DISK_BYTES = 24 * 2**20
_LOOK_S = 0.1
FAST = {"TUNEFARE_HEARTBEAT_S": "1", "TUNEFARE_STOP_GRACE_S": "5", "TUNEFARE_HANG_MINUTES": "0.75"}
"""Settings under which a hang is found soon, and a busy machine is not taken for one."""


@dataclass(kw_only=True)
class LocalScene:
    """One run in `cli.folder`."""

    cli: Cli
    run_arguments: tuple[str, ...] = ("tunefare.yaml", "--on", "local", "--yes", "--max-usd", "1")
    patience_s: float = 180.0
    most_late_s: float = 30.0
    """It is billed until it is taken down, which a lock of the ledger holds up."""
    seen_s: float | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.cli.folder / "home"

    @property
    def deeds(self) -> Mapping[Fault, Callable[[Trial], bool]]:
        """What is done to the disk."""
        return {Fault.FULL_DISK: self._fill_disk}

    def trainers(self) -> list[int]:
        """Pids of the training program."""
        return trainers_of(self.home)

    def last_seen_s(self) -> float | None:
        """When the runner, which outlives the task by nothing, was last seen."""
        return self.seen_s

    def written_seqs(self, record: RunRecord) -> list[int]:
        """Of the file that the trainer wrote."""
        file = record.run_dir / EVENTS_FILE
        return seqs_of(file.read_text(errors="replace")) if file.exists() else []

    def left(self) -> tuple[str, ...]:
        """Every process that names the scene's folder in its command line or environment."""
        mine = str(self.cli.folder)
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                words = [*process.cmdline(), *process.environ().values()]
                if any(mine in word for word in words):
                    found.append(f"{process.pid} {' '.join(process.cmdline())[-90:]}")
        return tuple(found)

    def _fill_disk(self, trial: Trial) -> bool:
        """A file takes all the space there is, for a while."""
        filler = self.home / "filler"
        try:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**16))
            with suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(1))
            sleep(FULL_S, trial)
        finally:
            filler.unlink()
        return True

    def watch_machine(self) -> None:
        """Note, until `stop_watching`, when the runner of the task lives."""
        while not self._done.wait(_LOOK_S):
            for folder in (self.home / "runs").glob("*"):
                leader = read_leader(folder)
                # A zombie, whose parent was stopped, is no sign of life.
                if leader is not None and is_alive(leader):
                    self.seen_s = time.time()

    def stop_watching(self) -> None:
        """The scene is over."""
        self._done.set()


class LocalStage:
    """Runs of a small model on this machine."""

    name = "local"

    def __init__(self, folder: Path, training: Mapping[str, object] = TRAINING) -> None:
        self._folder = folder
        self._template = folder / "template"
        self._template.mkdir(parents=True)
        model = write_tiny_model(folder / "model")
        write_run_file(self._template, model=model, data=write_news(folder), training=training)
        planned = Cli(folder=self._template).run("plan", "--json")
        assert planned.code == 0, planned.stderr
        can_mount = os.geteuid() == 0
        self.faults: Sequence[Fault] = tuple(
            fault for fault in LOCAL_FAULTS if can_mount or fault is not Fault.FULL_DISK
        )

    @contextmanager
    def scene(self, trial: Trial) -> Iterator[LocalScene]:
        """A copy of what was measured once; a disk of its own where it will be full."""
        folder = self._folder / f"trial-{trial.number:03}"
        shutil.copytree(self._template, folder)
        scene = LocalScene(cli=Cli(folder=folder, environment={**os.environ, **FAST}))
        watcher = threading.Thread(target=scene.watch_machine, name=f"watch-{trial.number}", daemon=True)
        with _own_disk(scene.home) if trial.fault is Fault.FULL_DISK else _no_disk():
            watcher.start()
            try:
                yield scene
            finally:
                scene.stop_watching()
                watcher.join()
                _end(scene)
        shutil.rmtree(folder)


def _end(scene: LocalScene) -> None:
    """Nothing of a trial disturbs the next one."""
    scene.cli.end()
    for told in scene.left():
        with suppress(ProcessLookupError):
            os.kill(int(told.split()[0]), signal.SIGKILL)


@contextmanager
def _no_disk() -> Iterator[None]:
    yield


@contextmanager
def _own_disk(home: Path) -> Iterator[None]:
    kept = home.with_name("kept")
    home.rename(kept)
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(home)], check=True)
    try:
        shutil.copytree(kept, home, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)
