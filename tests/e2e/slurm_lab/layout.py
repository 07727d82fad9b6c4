"""Where the lab keeps its files, and the few names and ports that are fixed.

Owns paths, ports and names; makes no file. One lab runs on a machine at a time, so ports are fixed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.e2e.engine_lab.layout import LabLayout

CLUSTER_NAME = "lab"
"""The Slurm cluster's name, which is also its SSH alias and SkyPilot's "region"."""
JOB_USER = "tunefare-lab"
"""Unix user that owns the jobs. Every process of this user belongs to the lab."""
SSH_PORT = 22022
CONTROLLER_PORT = 16817
FIRST_NODE_PORT = 16831
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's certificate bundle, for uv inside the jobs."""
TEMPLATES = Path(__file__).parent / "templates"
"""Configuration files with names to fill in."""


@dataclass(frozen=True, slots=True)
class Layout(LabLayout):
    """The folders under one lab's root; the job user must be able to enter it. `run` has munge's socket too."""

    name: ClassVar[str] = "Slurm"
    marker: ClassVar[str] = "TUNEFARE_SLURM_LAB"
    lock_file: ClassVar[Path] = Path("/run/tunefare-slurm-lab.lock")
    fresh_prefix: ClassVar[str] = "slurm-lab-"

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
