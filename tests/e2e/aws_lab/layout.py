"""Where the lab keeps its files, and the few names that are fixed.

Owns paths and names; makes no file. One lab runs on a machine at a time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.e2e.engine_lab.layout import LabLayout

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
class Layout(LabLayout):
    """The folders under one lab's root; `log` has one `i-....log` for each instance too."""

    name: ClassVar[str] = "AWS"
    marker: ClassVar[str] = "TUNEFARE_AWS_LAB"
    lock_file: ClassVar[Path] = Path("/run/tunefare-aws-lab.lock")
    fresh_prefix: ClassVar[str] = "aws-lab-"

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

    def folders(self) -> list[Path]:
        """All folders, outermost first."""
        return [self.root, self.run, self.log, self.etc, self.machines, self.client_home, self.client_tmp]
