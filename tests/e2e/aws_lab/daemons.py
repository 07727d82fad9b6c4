"""The cloud's daemons: the emulator of the API, the proxy before it, the hypervisor.

Owns their start, and what of this machine the instances are made of.
"""

import http.client
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.own_uv import copy_uv, write_uv_wrapper
from tests.e2e.engine_lab.processes import start_daemon, wait_until

from .account import furnish
from .catalogs import write_images
from .layout import CACHE, Layout

PACKAGES_BY_PROGRAM = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "socat": "socat",
    "nc": "netcat-openbsd",
    "sudo": "sudo",
    "curl": "curl",
    "unshare": "util-linux",
    "/usr/bin/python3.11": "python3.11",
}
"""What SkyPilot and the instances need, and the Debian package that has it."""
_REPOSITORY = Path(__file__).parents[3]


def prepare_cache() -> None:
    """Put uv where the instances' images take it from.

    Raises:
        LabError: there is no uv.
    """
    cache = CACHE / "uv"
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o1777)
    copy_uv(CACHE / "uv-binary")
    write_uv_wrapper(CACHE / "uv.sh", uv=Path("/usr/local/libexec/uv"))


def start_daemons(layout: Layout, port: int, emulator_port: int) -> list[subprocess.Popen[bytes]]:
    """Start the cloud and wait until it answers.

    Raises:
        LabError: a daemon did not come up; its log is under the lab's `log/`.
    """
    write_images(layout.images)
    emulator = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(emulator_port)]
    started = [_start(layout, "emulator", emulator)]
    _wait(layout, "emulator", started[-1], emulator_port)
    furnish(layout, emulator_port)
    arguments = [str(layout.root), str(port), str(emulator_port)]
    started.append(_start(layout, "proxy", [sys.executable, "-m", "tests.e2e.aws_lab.proxy", *arguments]))
    _wait(layout, "proxy", started[-1], port)
    started.append(_start(layout, "hypervisor", [sys.executable, "-m", "tests.e2e.aws_lab.hypervisor", *arguments]))
    return started


def _start(layout: Layout, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "PYTHONPATH": str(_REPOSITORY),
        "MOTO_AMIS_PATH": str(layout.images),
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        # moto's own accounts look for no metadata service.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return start_daemon(layout, name, command, environment)


def _wait(layout: Layout, name: str, process: subprocess.Popen[bytes], port: int) -> None:
    log = layout.log / f"{name}.log"

    def ended_or_up() -> bool:
        return process.poll() is not None or _answers(port)

    wait_until(ended_or_up, timeout_s=90, what=f"{name} is up (see {log})")
    if process.poll() is not None:
        raise LabError(f"{name} ended at once: {log.read_text()[-2000:].strip()}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/imds/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True
