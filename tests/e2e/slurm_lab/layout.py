"""Where the lab keeps its files, and the few names and ports that are fixed.

Owns paths, ports and names; makes no file. One lab runs on a machine at a time, so ports are fixed.
"""

from dataclasses import dataclass
from pathlib import Path

CLUSTER_NAME = "lab"
"""The Slurm cluster's name, which is also its SSH alias and SkyPilot's "region"."""
JOB_USER = "tunefare-lab"
"""Unix user that owns the jobs. Every process of this user belongs to the lab."""
MARKER_VARIABLE = "TUNEFARE_SLURM_LAB"
"""Set to the lab's root in each process that the lab starts, so that a later lab can find it."""
LOCK_FILE = Path("/run/tunefare-slurm-lab.lock")
"""Held by the lab that is up; holds the root of the last one, which tells a crashed lab's leftovers."""
SSH_PORT = 22022
CONTROLLER_PORT = 16817
FIRST_NODE_PORT = 16831
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's certificate bundle, for uv inside the jobs."""


TEMPLATES = Path(__file__).parent / "templates"
"""Configuration files with names to fill in."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders under one lab's root."""

    root: Path
    """Scratch folder of the lab, mode 755 because the job user must be able to enter it."""

    @property
    def marker(self) -> str:
        """Variable that holds the root in each process of the lab."""
        return MARKER_VARIABLE

    @property
    def etc(self) -> Path:
        """Configuration and keys of the daemons."""
        return self.root / "etc"

    @property
    def run(self) -> Path:
        """One `<daemon>.pid` for each daemon, and munge's socket."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """One `<daemon>.log` for each daemon."""
        return self.root / "log"

    @property
    def spool(self) -> Path:
        """State of slurmctld and of each slurmd."""
        return self.root / "spool"

    @property
    def devices(self) -> Path:
        """The null devices that stand for GPUs."""
        return self.root / "dev"

    @property
    def node_tmp(self) -> Path:
        """SkyPilot's node-local folder; each node sees its own here."""
        return self.root / "nodetmp"

    @property
    def site(self) -> Path:
        """What an administrator installs for all users: uv."""
        return self.root / "site"

    @property
    def job_home(self) -> Path:
        """Home of the job user on the cluster."""
        return self.root / "jobhome"

    @property
    def client_home(self) -> Path:
        """HOME of the SkyPilot client and its API server."""
        return self.root / "home"

    @property
    def client_tmp(self) -> Path:
        """TMPDIR of the SkyPilot client and its API server."""
        return self.root / "tmp"

    @property
    def slurm_conf(self) -> Path:
        """The configuration that SLURM_CONF names."""
        return self.etc / "slurm.conf"

    @property
    def ssh_key(self) -> Path:
        """Private key with which the client logs in as the job user."""
        return self.etc / "id_ed25519"

    def shared_folders(self) -> list[Path]:
        """Folders that everybody on the machine may read."""
        return [
            self.root,
            self.etc,
            self.run,
            self.log,
            self.spool,
            self.devices,
            self.node_tmp,
            self.site,
            self.site / "bin",
        ]
