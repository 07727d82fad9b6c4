"""The image of the instances' home: what the first one has installed, so that the later ones need not.

Owns a folder that stays when the lab is down, one for each set of requirements; the first instance after a change of
them installs all from the package registries. SkyPilot and the set-up script look what is there and take it.
"""

import hashlib
import importlib.metadata
import shutil
import subprocess
from pathlib import Path

from .layout import CACHE

KEPT = ("skypilot-runtime", ".tunefare")
"""Folders of the home: SkyPilot's own Python on the machine, and the training program's."""
_REQUIREMENTS = Path(__file__).parents[3] / "tasks" / "requirements.txt"
_HOME = Path("home") / "ubuntu"
_PREFIX = "image-"


class Image:
    """The image for the requirements as they are now."""

    def __init__(self) -> None:
        inputs = f"{importlib.metadata.version('skypilot')} {_REQUIREMENTS.read_text()}"
        mark = hashlib.sha256(inputs.encode()).hexdigest()[:16]
        self.folder = CACHE / f"{_PREFIX}{mark}"
        """Where it is, or will be."""
        self._venv = f"venv-{hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
        self._beside = CACHE / f"{_PREFIX}new"
        self._copy: subprocess.Popen[bytes] | None = None

    def make_from(self, unshare_pid: int) -> None:
        """Begin to copy the machine's home when its set-up is through, or finish; asked again and again."""
        if self.folder.exists():
            return
        if self._copy is None:
            self._begin(unshare_pid)
        elif (status := self._copy.poll()) is not None:
            self._copy = None
            # A machine that ended meanwhile leaves half a copy: the next one is tried.
            if status == 0:
                for old in CACHE.glob(f"{_PREFIX}*"):
                    if old != self._beside:
                        shutil.rmtree(old)
                self._beside.rename(self.folder)

    def abandon(self) -> None:
        """End a copy that is under way."""
        if self._copy is not None:
            self._copy.kill()
            self._copy.wait()

    def _begin(self, unshare_pid: int) -> None:
        children = Path(f"/proc/{unshare_pid}/task/{unshare_pid}/children")
        first = children.read_text().split() if children.exists() else []
        if not first:
            return
        home = Path(f"/proc/{first[0]}/root") / _HOME
        if (home / ".tunefare" / self._venv / "tunefare-ready").exists():
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.mkdir(parents=True)
            self._copy = subprocess.Popen(["cp", "-a", *(str(home / name) for name in KEPT), str(self._beside)])
