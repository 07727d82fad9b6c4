"""The SkyPilot client's side: its HOME, its prices, its environment, its API server.

Owns what a client process must be given so that all that SkyPilot writes stays in the lab's folder.
SkyPilot is never imported here: the tests run it in processes of their own.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from .layout import CLUSTER_NAME, JOB_USER, MARKER_VARIABLE, SSH_PORT, Layout
from .partitions import PARTITIONS
from .templating import write_template

_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TERM", "TZ", "UV_FIND_LINKS", "PIP_FIND_LINKS")
_KEPT_SUFFIXES = ("_proxy", "_PROXY", "_CERT", "_CERT_FILE", "_CERT_DIR", "_CA_BUNDLE")


def write_client_home(layout: Layout, *, provision_timeout_s: int) -> None:
    """Write the files that SkyPilot reads before it does anything."""
    home = layout.client_home
    layout.client_tmp.mkdir(exist_ok=True)
    (home / ".ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_template(
        "ssh_client_config",
        home / ".slurm" / "config",
        cluster_name=CLUSTER_NAME,
        ssh_port=SSH_PORT,
        job_user=JOB_USER,
        ssh_key=layout.ssh_key,
    )
    write_template(
        "sky_config.yaml",
        home / ".sky" / "config.yaml",
        provision_timeout_s=provision_timeout_s,
        cluster_name=CLUSTER_NAME,
        node_tmp=layout.node_tmp,
        prices="\n".join(_price_lines()),
    )
    # SkyPilot fetches its list of accelerator names only where it has none.
    names = home / ".sky" / "catalogs" / "v8" / "common" / "accelerators.csv"
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("AcceleratorName,Clouds\n" + "".join(f"{n},\"['Slurm']\"\n" for n in _gpus()))


def client_environment(layout: Layout, *, api_port: int) -> dict[str, str]:
    """Give the whole environment of a client process.

    The first client starts the API server, which keeps this environment, and the client's working
    directory as the head of its module path: run clients in a folder without Python files.
    """
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.endswith(_KEPT_SUFFIXES)
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return environment | {
        "HOME": str(layout.client_home),
        "USER": "root",
        "TMPDIR": str(layout.client_tmp),
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(api_port),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        "SLURM_CONF": str(layout.slurm_conf),
        MARKER_VARIABLE: str(layout.root),
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


def pick_free_port() -> int:
    """Give a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _gpus() -> list[str]:
    return sorted({partition.gpu for partition in PARTITIONS if partition.gpu})


def _price_lines() -> list[str]:
    return [
        f"        {p.name}: {{pricing: {{accelerators: {{{p.gpu}: {p.price_usd_per_gpu_hour}}}}}}}"
        for p in PARTITIONS
        if p.gpu
    ]
