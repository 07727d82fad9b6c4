"""Where any lab keeps its files, and what it is known by; makes no file."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LabLayout:
    """The folders under one lab's root; one lab of a kind runs on a machine at a time."""

    name: ClassVar[str]
    """Of the kind, for people."""
    marker: ClassVar[str]
    """Variable that holds the root in each process that the lab starts, so that a later lab can find it."""
    lock_file: ClassVar[Path]
    """Held by the lab that is up; holds the root of the last one, which tells a crashed lab's leftovers."""
    fresh_prefix: ClassVar[str]
    """Of the names of roots that labs make for themselves."""

    root: Path
    """Scratch folder of the lab; others must be able to enter it."""

    @property
    def run(self) -> Path:
        """One `<daemon>.pid` for each daemon."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """One `<daemon>.log` for each daemon."""
        return self.root / "log"

    @property
    def etc(self) -> Path:
        """Configuration of the daemons."""
        return self.root / "etc"

    @property
    def client_home(self) -> Path:
        """HOME of the SkyPilot client and its API server."""
        return self.root / "home"

    @property
    def client_tmp(self) -> Path:
        """TMPDIR of the SkyPilot client and its API server."""
        return self.root / "tmp"
