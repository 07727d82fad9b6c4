"""The Debian packages of a lab, which stay installed after it is down."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import LabError
from .processes import run_command

_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path(tempfile.gettempdir()) / "tunefare-lab-packages.lock"
_LOCK_S = 300
"""For apt-get of others, such as a daily update."""


def install_packages(packages_by_program: Mapping[str, str], *, what: str) -> bool:
    """Install the packages whose program is missing and tell whether there were any.

    Raises:
        LabError: not root, or apt-get failed.
    """
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: it starts daemons and makes Unix users")
    # One lab at a time: another's end would lift the policy below.
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = sorted({package for program, package in packages_by_program.items() if not _find(program)})
        if missing:
            _install(missing)
    return bool(missing)


def _install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={_LOCK_S}"]
    run_command([*apt, "update"], timeout_s=180, environment=environment)
    # The packages must not start their services: a lab's own listen on loopback only.
    bring_policy = not _POLICY.exists()
    if bring_policy:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        run_command(
            [*apt, "install", "-y", "--no-install-recommends", *packages], timeout_s=600, environment=environment
        )
    finally:
        if bring_policy:
            _POLICY.unlink()


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
