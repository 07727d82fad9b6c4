"""Where the lab keeps its files, and the few names that are fixed.

Owns paths and names; makes no file. One lab runs on a machine at a time.
"""

from dataclasses import dataclass
from pathlib import Path

MARKER_VARIABLE = "TUNEFARE_AWS_LAB"
"""Set to the lab's root in each process that the lab starts, so that a later lab can find it."""
LOCK_FILE = Path("/run/tunefare-aws-lab.lock")
"""Held by the lab that is up; holds the root of the last one, which tells a crashed lab's leftovers."""
CACHE = Path("/var/cache/tunefare-aws-lab")
"""Stays when the lab is down: what the instances' uv has downloaded."""
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
CLIENT_KEY_ID = "AKIATUNEFARELAB00000"
"""Access key of the user at home."""
ROLE_KEY_ID = "ASIATUNEFARELAB00000"
"""Access key that an instance gets from its metadata service."""
ROLE_NAME = "skypilot-v1"
"""Name of the instance profile and role that SkyPilot gives to its machines."""
TEMPLATES = Path(__file__).parent / "templates"
"""Files with names to fill in."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders under one lab's root."""

    root: Path
    """Scratch folder of the lab."""

    @property
    def marker(self) -> str:
        """Variable that holds the root in each process of the lab."""
        return MARKER_VARIABLE

    @property
    def run(self) -> Path:
        """One `<daemon>.pid` for each daemon."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """One `<daemon>.log` for each daemon, one `i-....log` for each instance."""
        return self.root / "log"

    @property
    def etc(self) -> Path:
        """Configuration of the daemons."""
        return self.root / "etc"

    @property
    def machines(self) -> Path:
        """One folder for each instance, with its root and what its metadata service says."""
        return self.root / "machines"

    @property
    def api_log(self) -> Path:
        """One JSON object for each API call that the proxy saw."""
        return self.log / "api.jsonl"

    @property
    def rules(self) -> Path:
        """The faults that the proxy injects."""
        return self.etc / "rules.json"

    @property
    def subnets(self) -> Path:
        """JSON object: id of a subnet -> its zone."""
        return self.etc / "subnets.json"

    @property
    def images(self) -> Path:
        """The machine images that the emulated account knows."""
        return self.etc / "amis.json"

    @property
    def client_home(self) -> Path:
        """HOME of the SkyPilot client and its API server."""
        return self.root / "home"

    @property
    def client_tmp(self) -> Path:
        """TMPDIR of the SkyPilot client and its API server."""
        return self.root / "tmp"

    def folders(self) -> list[Path]:
        """All folders, outermost first."""
        return [self.root, self.run, self.log, self.etc, self.machines, self.client_home, self.client_tmp]
