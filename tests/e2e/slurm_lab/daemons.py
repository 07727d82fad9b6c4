"""The site's daemons: munge, sshd, slurmctld and one slurmd for each node.

Owns their configuration and start; all of it lies in the lab's folder and nothing under /etc is
touched. All speak over loopback addresses only; the slurmds have to listen on any address, because
srun breaks under Slurm's NoInAddrAny, but they answer nobody without this lab's munge key.
"""

import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.processes import run_command, start_daemon, wait_until
from tests.e2e.engine_lab.templating import write_template

from .layout import (
    CLUSTER_NAME,
    CONTROLLER_PORT,
    FIRST_NODE_PORT,
    JOB_USER,
    SSH_PORT,
    TEMPLATES,
    Layout,
)
from .partitions import PARTITIONS, Partition

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GPU_COUNT_MAX = max(partition.gpus_per_node for partition in PARTITIONS)


def site_environment(layout: Layout) -> dict[str, str]:
    """Give the environment of a Slurm command or daemon on this site."""
    return {"PATH": _PATH, "LC_ALL": "C.UTF-8", "SLURM_CONF": str(layout.slurm_conf)}


def make_keys(layout: Layout) -> None:
    """Make the SSH keys of the login node and the client, and munge's key."""
    for name in ("host_ed25519", layout.ssh_key.name):
        path = layout.etc / name
        if not path.exists():
            run_command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    munge_key = layout.etc / "munge.key"
    if not munge_key.exists():
        munge_key.touch(mode=0o400)
        munge_key.write_bytes(secrets.token_bytes(128))


def start_daemons(layout: Layout) -> list[subprocess.Popen[bytes]]:
    """Start the site and wait until every node is idle.

    Raises:
        LabError: a daemon did not come up; its log is under the lab's `log/`.
    """
    _write_configuration(layout)
    started = [_start_munge(layout), _start_sshd(layout), _start_controller(layout)]
    started += [_start_node(layout, node) for node, _ in _nodes()]
    wait_until(lambda: _nodes_are_idle(layout), timeout_s=60, what=f"Slurm nodes idle (see {layout.log})")
    return started


def sshd_processes(layout: Layout) -> list[int]:
    """The login node's sshd, then one process or two for each connection; what runs in them is left out."""
    listener = psutil.Process(int((layout.run / "sshd.pid").read_text()))
    return [listener.pid, *(one.pid for one in listener.children(recursive=True) if one.name().startswith("sshd"))]


def _write_configuration(layout: Layout) -> None:
    write_template(
        TEMPLATES / "slurm.conf",
        layout.slurm_conf,
        cluster_name=CLUSTER_NAME,
        controller_port=CONTROLLER_PORT,
        munge_socket=_munge_socket(layout),
        spool=layout.spool,
        run=layout.run,
        task_prolog=layout.etc / "task_prolog.sh",
        nodes="\n".join(_node_lines()),
        partitions="\n".join(_partition_lines()),
    )
    (layout.etc / "hosts").write_text("\n".join(_hosts_lines()) + "\n")
    (layout.etc / "gres.conf").write_text("\n".join(_gres_lines(layout)) + "\n")
    write_template(
        TEMPLATES / "task_prolog.sh",
        layout.etc / "task_prolog.sh",
        mode=0o755,
        job_home=layout.job_home,
        site=layout.site,
    )
    write_template(
        TEMPLATES / "sshd_config",
        layout.etc / "sshd_config",
        ssh_port=SSH_PORT,
        etc=layout.etc,
        job_user=JOB_USER,
        slurm_conf=layout.slurm_conf,
    )
    for index in range(_GPU_COUNT_MAX):
        device = layout.devices / f"gpu{index}"
        if not device.exists():
            # Slurm drains a node whose GPUs have no device file: these are copies of /dev/null.
            run_command(["mknod", "--mode=666", str(device), "c", "1", "3"])


def _nodes() -> Iterator[tuple[str, Partition]]:
    for partition in PARTITIONS:
        for node in partition.node_names():
            yield node, partition


def _address(node_index: int) -> str:
    return f"127.0.0.{11 + node_index}"


def _hosts_lines() -> Iterator[str]:
    yield "127.0.0.1 localhost"
    for index, (node, _) in enumerate(_nodes()):
        yield f"{_address(index)} {node}"


def _node_lines() -> Iterator[str]:
    for index, (node, partition) in enumerate(_nodes()):
        gres = f" Gres=gpu:{partition.gpu.lower()}:{partition.gpus_per_node}" if partition.gpu else ""
        yield (
            f"NodeName={node} NodeAddr={_address(index)} Port={FIRST_NODE_PORT + index} "
            f"CPUs={partition.cpus_per_node} RealMemory={partition.memory_mib_per_node}{gres} "
            "State=UNKNOWN"
        )


def _partition_lines() -> Iterator[str]:
    for index, partition in enumerate(PARTITIONS):
        default = "YES" if index == 0 else "NO"
        yield (
            f"PartitionName={partition.name} Nodes={','.join(partition.node_names())} "
            f"Default={default} MaxTime=04:00:00 State=UP"
        )


def _gres_lines(layout: Layout) -> Iterator[str]:
    yield "AutoDetect=off"
    for node, partition in _nodes():
        if partition.gpu:
            files = f"{layout.devices}/gpu[0-{partition.gpus_per_node - 1}]"
            yield f"NodeName={node} Name=gpu Type={partition.gpu.lower()} File={files}"


def _munge_socket(layout: Layout) -> Path:
    return layout.run / "munge.socket"


def _start_munge(layout: Layout) -> subprocess.Popen[bytes]:
    socket = _munge_socket(layout)
    command = [
        "munged",
        "--foreground",
        "--force",
        f"--socket={socket}",
        f"--key-file={layout.etc / 'munge.key'}",
        f"--pid-file={layout.run / 'munged.own.pid'}",
        f"--log-file={layout.log / 'munged.log'}",
        f"--seed-file={layout.spool / 'munge.seed'}",
    ]
    process = start_daemon(layout, "munged", command, site_environment(layout))
    _wait_for_daemon(process, "munged", socket.is_socket, layout)
    return process


def _start_sshd(layout: Layout) -> subprocess.Popen[bytes]:
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(layout.etc / "sshd_config")]
    process = start_daemon(layout, "sshd", command, site_environment(layout))
    probe = ["nc", "-z", "127.0.0.1", str(SSH_PORT)]
    _wait_for_daemon(process, "sshd", lambda: _succeeds(probe, layout), layout)
    return process


def _start_controller(layout: Layout) -> subprocess.Popen[bytes]:
    (layout.spool / "slurmctld").mkdir(exist_ok=True)
    command = ["slurmctld", "-D", "-c", "-i", "-f", str(layout.slurm_conf)]
    process = start_daemon(layout, "slurmctld", command, site_environment(layout))
    _wait_for_daemon(process, "slurmctld", lambda: _succeeds(["scontrol", "ping"], layout), layout)
    return process


def _start_node(layout: Layout, node: str) -> subprocess.Popen[bytes]:
    """Start slurmd with a host name, a hosts file and a node-local folder of its own."""
    own_tmp = layout.spool / f"{node}.tmp"
    own_tmp.mkdir(exist_ok=True)
    own_tmp.chmod(0o1777)
    (layout.spool / node).mkdir(exist_ok=True)
    script = " && ".join(
        [
            shlex.join(["mount", "--bind", str(own_tmp), str(layout.node_tmp)]),
            shlex.join(["mount", "--bind", str(layout.etc / "hosts"), "/etc/hosts"]),
            shlex.join(["hostname", node]),
            "exec " + shlex.join(["slurmd", "-D", "-N", node, "-f", str(layout.slurm_conf)]),
        ]
    )
    command = ["unshare", "--uts", "--mount", "sh", "-c", script]
    return start_daemon(layout, f"slurmd-{node}", command, site_environment(layout))


def _wait_for_daemon(process: subprocess.Popen[bytes], name: str, is_up: Callable[[], bool], layout: Layout) -> None:
    def ended_or_up() -> bool:
        return process.poll() is not None or is_up()

    log = layout.log / f"{name}.log"
    wait_until(ended_or_up, timeout_s=20, what=f"{name} is up (see {log})")
    if process.poll() is not None:
        raise LabError(f"{name} ended at once: {log.read_text()[-2000:].strip()}")


def _succeeds(command: list[str], layout: Layout) -> bool:
    try:
        run_command(command, timeout_s=10, environment=site_environment(layout))
    except LabError:
        return False
    return True


def _nodes_are_idle(layout: Layout) -> bool:
    command = ["sinfo", "--noheader", "--Node", "--format=%t"]
    try:
        states = run_command(command, timeout_s=10, environment=site_environment(layout)).split()
    except LabError:
        return False
    return len(states) == len(list(_nodes())) and set(states) == {"idle"}
