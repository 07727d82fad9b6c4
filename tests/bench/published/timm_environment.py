"""An environment aside that holds timm beside the packages of this one; nothing is installed here.

PyPI's torchvision does not match a CPU build of torch, and transformers would import it for images: timm is therefore
no package of the project's own environment. Made once, kept with the traces.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PACKAGES = ("timm==1.0.31", "torchvision")
_TIMEOUT_S = 900
_PROBE = "from importlib.util import find_spec; raise SystemExit(not (find_spec('timm') and find_spec('torchvision')))"


class NoTimmError(RuntimeError):
    """timm cannot be installed."""


def run_with_timm(arguments: Sequence[str], folder: Path) -> NoReturn:
    """Go on as this program under an interpreter that has timm.

    Raises:
        NoTimmError: no network, no such package.
    """
    python = folder / "bin" / "python"
    if not _has_timm(python):
        _make(folder, python)
    sys.stdout.flush()
    os.execv(python, [str(python), *arguments])


def _has_timm(python: Path) -> bool:
    return python.exists() and subprocess.run([python, "-c", _PROBE], timeout=_TIMEOUT_S, check=False).returncode == 0


def _make(folder: Path, python: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise NoTimmError(f"timm cannot be installed: {(done.stderr.splitlines() or ['pip failed'])[-1]}")
    inside = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    ).stdout.strip()
    ours = sysconfig.get_paths()["purelib"]
    (Path(inside) / "beside.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
