"""uv for a lab's machines, and the wrapper that makes SkyPilot's runtime take Debian's Python."""

import shutil
import sysconfig
from pathlib import Path

from .errors import LabError
from .templating import write_template

_WRAPPER = Path(__file__).parent / "templates" / "uv.sh"
_PYTHON = "3.11"


def copy_uv(target: Path) -> None:
    """Copy this Python's uv, or that of PATH, to where every user can run it.

    Raises:
        LabError: neither has uv.
    """
    beside_python = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if found is None:
        raise LabError("the lab needs uv: pip install uv")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    shutil.copyfile(found, beside)
    beside.chmod(0o755)
    # In one step: a machine that runs the old one keeps it.
    beside.replace(target)


def write_uv_wrapper(target: Path, *, uv: Path) -> None:
    """Write the program that a lab's machines know as uv; `uv` is where they see the real one."""
    write_template(_WRAPPER, target, mode=0o755, python=_PYTHON, uv=uv)
