"""The hook that keeps SkyPilot's controllers from asking public addresses, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.aws_lab.hooks.network_probe import PROBE_VARIABLE
from tests.support.audited.sitecustomize import HOOK_VARIABLE
from tests.support.connections import python_path

HOOK = Path(__file__).parents[2] / "e2e" / "aws_lab" / "hooks" / "network_probe.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A SkyPilot that is nothing but the module with the addresses."""
    package = tmp_path / "sky" / "backends"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    (package / "backend_utils.py").write_text("_TEST_IP_LIST = ['https://8.8.8.8']\n")
    return tmp_path


def ask(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path(folder), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


ADDRESSES = "from sky.backends import backend_utils as m; print(*m._TEST_IP_LIST)"
GRANDCHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{ADDRESSES}'])"


def test_without_the_hook_it_asks_public_addresses(folder: Path) -> None:
    assert ask(folder, ADDRESSES).stdout.strip() == "https://8.8.8.8"


@pytest.mark.parametrize("code", [ADDRESSES, GRANDCHILD])
def test_with_the_hook_it_asks_loopback_in_child_processes_too(folder: Path, code: str) -> None:
    address = "http://127.0.0.1:4321/imds/"
    done = ask(folder, code, **{HOOK_VARIABLE: str(HOOK), PROBE_VARIABLE: address})
    assert done.stdout.strip() == address, done.stderr


def test_another_address_is_refused(folder: Path) -> None:
    done = ask(folder, ADDRESSES, **{HOOK_VARIABLE: str(HOOK), PROBE_VARIABLE: "http://10.0.0.1/"})
    assert "8.8.8.8" in done.stdout or done.returncode
    assert "is not on this machine" in done.stderr


def test_a_skypilot_that_asks_in_another_way_cannot_be_imported(folder: Path) -> None:
    (folder / "sky" / "backends" / "backend_utils.py").write_text("ADDRESSES = []\n")
    done = ask(folder, ADDRESSES, **{HOOK_VARIABLE: str(HOOK), PROBE_VARIABLE: "http://127.0.0.1:1/"})
    assert done.returncode
    assert "asks elsewhere" in done.stderr
