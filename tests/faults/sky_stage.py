"""What is common to the engines of SkyPilot: a small model is trained on a machine of a lab.

A lab's own stage says which machines there are and where the trainer writes on them.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil

from manager.runs.records import RunRecord
from tasks.protocol import EVENTS_FILE
from tests.faults.inflict import sleep
from tests.faults.stage import read_run, seqs_of
from tests.faults.trials import CLOUD_FAULTS, Fault, Trial
from tests.support.cli import Cli

CUT_S = (20.0, 90.0)
_LOOK_S = 0.5


class SkyLab(Protocol):
    """A place where SkyPilot rents machines whose processes are all on this one."""

    def environment(self) -> dict[str, str]:
        """Under which commands stay in the lab."""
        ...

    def kill_api_server(self) -> bool:
        """SIGKILL to SkyPilot's API server; False: there was none."""
        ...

    def silent(self) -> AbstractContextManager[None]:
        """Inside, what SkyPilot speaks to takes connections and gives no answer."""
        ...


class SkyScene(ABC):
    """One run in `cli.folder`, in a lab that is shared by all trials."""

    run_arguments: tuple[str, ...]
    patience_s = 900.0
    most_late_s = 120.0
    """From the order to end the machine to the answers of SkyPilot and the provider that nothing is left."""

    def __init__(self, cli: Cli, lab: SkyLab) -> None:
        self.cli = cli
        self._lab = lab
        self._seen_s: float | None = None
        self._written: list[int] = []
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch-machine", daemon=True)
        self._watcher.start()

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.cli.folder / "home"

    @property
    def deeds(self) -> Mapping[Fault, Callable[[Trial], bool]]:
        """What is done to the lab."""
        return {Fault.KILL_API_SERVER: lambda _: self._lab.kill_api_server(), Fault.CUT_NETWORK: self._cut}

    @abstractmethod
    def machines(self) -> tuple[str, ...]:
        """What the provider has and bills now, in words."""

    @abstractmethod
    def event_files(self, run_id: str) -> Sequence[Path]:
        """Where the trainer may be writing its events, seen from here."""

    @abstractmethod
    def is_on_machine(self, process: psutil.Process) -> bool:
        """Whether a process of this machine is one of a rented machine."""

    @abstractmethod
    def end_machines(self) -> None:
        """End what is left of the trial, past SkyPilot."""

    def trainers(self) -> list[int]:
        """Pids of the training program on the machine."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or [""]
            with suppress(psutil.Error):
                if "tasks.train" in words and "python" in words[0] and self.is_on_machine(process):
                    found.append(process.pid)
        return found

    def last_seen_s(self) -> float | None:
        """When the provider last had the machine."""
        return self._seen_s

    def written_seqs(self, record: RunRecord) -> list[int]:
        """Of the file on the machine, as it was last seen, and of the one that came home: the longer one."""
        file = record.run_dir / EVENTS_FILE
        home = seqs_of(file.read_text(errors="replace")) if file.exists() else []
        return max(home, self._written, key=len)

    def left(self) -> tuple[str, ...]:
        """Machines, and processes of tunefare; SkyPilot's server stays, as it does for a user."""
        processes = (f"{pid} {command[-90:]}" for pid, command in self._processes())
        return (*self.machines(), *processes)

    def end(self) -> None:
        """Nothing of a trial disturbs the next one."""
        self._done.set()
        self._watcher.join()
        self.cli.end()
        for pid, _ in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.end_machines()

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_S):
            if self.machines():
                self._seen_s = time.time()
            record = read_run(self.home)
            for file in () if record is None else self.event_files(record.run_id):
                with suppress(OSError):
                    self._written = max(self._written, seqs_of(file.read_text(errors="replace")), key=len)

    def _processes(self) -> list[tuple[int, str]]:
        mine = str(self.home)
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                words = process.cmdline()
                is_manager = any(word.startswith("manager.") for word in words)
                if is_manager and process.environ().get("TUNEFARE_HOME") == mine:
                    found.append((process.pid, " ".join(words)))
        return found

    def _cut(self, trial: Trial) -> bool:
        with self._lab.silent():
            sleep(CUT_S, trial)
        return True


class SkyStage(ABC):
    """Runs of a small model in a lab."""

    name: str
    faults: Sequence[Fault] = CLOUD_FAULTS

    def __init__(self, folder: Path, lab: SkyLab) -> None:
        self._folder = folder
        self._lab = lab
        self._template = folder / "template"
        self._template.mkdir(parents=True)
        self.write_job(self._template)
        planned = Cli(folder=self._template, environment=lab.environment()).run("plan", "--json", timeout_s=600)
        assert planned.code == 0, planned.stderr

    @abstractmethod
    def write_job(self, folder: Path) -> None:
        """The run file, its model and its data."""

    @abstractmethod
    def make_scene(self, cli: Cli) -> SkyScene:
        """A scene of the lab."""

    @contextmanager
    def scene(self, trial: Trial) -> Iterator[SkyScene]:
        """A copy of what was planned once."""
        # The run that is measured first is none of the trials.
        folder = Path(tempfile.mkdtemp(prefix=f"trial-{trial.number:03}-", dir=self._folder))
        shutil.copytree(self._template, folder, dirs_exist_ok=True)
        scene = self.make_scene(Cli(folder=folder, environment=self._lab.environment()))
        try:
            yield scene
        finally:
            scene.end()
