"""A SkyPilot client whose HOME, environment and API server are a lab's own.

SkyPilot is never imported here: the tests run it in processes of their own.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .layout import LabLayout
from .processes import find_marked

_SERVER = b"sky.server.server"
MEMORY_GB = "6"
"""What SkyPilot sizes its server by: two long workers and one controller of managed jobs, not as many as this machine
has memory for, since they share two cores with the rest of the suite."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TERM", "TZ")
_KEPT_PREFIXES = ("UV_", "PIP_")
_KEPT_SUFFIXES = ("_proxy", "_PROXY", "_CERT", "_CERT_FILE", "_CERT_DIR", "_CA_BUNDLE")


def registry_environment() -> dict[str, str]:
    """Give what this machine's owner says about package registries: folders of wheels, proxies, certificates."""
    return {name: value for name, value in os.environ.items() if _is_on_registries(name)}


def sky_environment(layout: LabLayout, *, home: Path, tmp: Path, api_port: int) -> dict[str, str]:
    """Give the whole environment of a client process.

    The first client starts the API server, which keeps this environment, and the client's working
    directory as the head of its module path: run clients in a folder without Python files.
    """
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | registry_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return environment | {
        "HOME": str(home),
        "USER": "root",
        "TMPDIR": str(tmp),
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(api_port),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        # At home there is no metadata service; asked for credentials the AWS CLI would look for it beyond loopback.
        "AWS_EC2_METADATA_DISABLED": "true",
        "SKYPILOT_POD_MEMORY_GB_LIMIT": MEMORY_GB,
        layout.marker: str(layout.root),
    }


def stop_api_server(environment: dict[str, str], *, timeout_s: float = 60) -> None:
    """Let SkyPilot end the API server on this lab's port, if there is one.

    An API server that does not obey is no error here: `down` ends it by its process id.
    """
    sky = Path(sys.executable).parent / "sky"
    if not sky.exists() or not _is_listening(int(environment["SKYPILOT_API_SERVER_LOCAL_PORT"])):
        return
    try:
        subprocess.run(
            [str(sky), "api", "stop"],
            env=environment,
            cwd=environment["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return


def kill_api_server(layout: LabLayout) -> bool:
    """SIGKILL to the lab's API server; what it had started lives on, as after a real death. False: there was none."""
    servers = find_api_servers(layout)
    for pid in servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(servers)


def find_api_servers(layout: LabLayout) -> set[int]:
    """Pids of the lab's API server."""
    return {pid for pid in find_marked(layout) if _SERVER in _command_line(pid)}


def pick_free_port() -> int:
    """Give a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_on_registries(name: str) -> bool:
    return name.startswith(_KEPT_PREFIXES) or name.endswith(_KEPT_SUFFIXES)
