"""The Debian packages of a lab, which stay installed after it is down."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .errors import LabError
from .processes import run_command

_POLICY = Path("/usr/sbin/policy-rc.d")


def install_packages(packages_by_program: Mapping[str, str], *, what: str) -> bool:
    """Install the packages whose program is missing and tell whether there were any.

    Raises:
        LabError: not root, or apt-get failed.
    """
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: it starts daemons and makes Unix users")
    missing = sorted({package for program, package in packages_by_program.items() if not _find(program)})
    if not missing:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_command(["apt-get", "update", "-qq"], timeout_s=180, environment=environment)
    # The packages must not start their services: a lab's own listen on loopback only.
    bring_policy = not _POLICY.exists()
    if bring_policy:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        run_command(command, timeout_s=600, environment=environment)
    finally:
        if bring_policy:
            _POLICY.unlink()
    return True


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
