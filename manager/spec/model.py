"""RunSpec: what the user wants, parsed and checked; it knows nothing of machines or prices.

The nested choices are those of the job file (`tasks.protocol`), so that a field means the same in `tunefare.yaml`, in a
plan and on the machine. What a machine decides (micro-batch) or the user bounds (budget, where) stands beside them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tasks.job import DataChoice, MethodChoice, ModelChoice, TargetChoice, TrainingChoice

SPEC_VERSION = 1
CPU = "cpu"
"""What `where.accelerators` calls a machine without one."""
_NO_SECRETS = frozenset({"PATH", "HOME", "SHELL", "IFS", "ENV", "USER", "TMPDIR", "PWD", "CDPATH", "SHELLOPTS", "PS4"})
"""Variables whose value changes what a command does."""


class Requoting(StrEnum):
    """What a run does when its machine turns out dearer than it was quoted."""

    ASK = "ask"
    """Where a terminal answers in time; else it ends only if its cap would be broken."""
    ABORT = "abort"
    CONTINUE = "continue"


CONFIDENCES = (0.5, 0.9)
"""At which limits can be kept: intervals have an expected figure and an end that nine of ten runs stay under."""


def is_plain_name(text: str) -> bool:
    """Whether it can name a job or a project: 1 to 40 of a-z, 0-9 and -, which neither begins nor ends it."""
    return re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", text) is not None


def is_secret_name(text: str) -> bool:
    """Whether it can name a secret: capitals, digits and _, and none by which a shell, Python or SkyPilot goes."""
    if re.fullmatch(r"[A-Z][A-Z0-9_]{0,99}", text) is None:
        return False
    return text not in _NO_SECRETS and not text.startswith(("LD_", "PYTHON", "BASH", "TUNEFARE_", "SKYPILOT_", "SKY_"))


def accelerator_wish(text: str) -> tuple[str, float | None]:
    """Name and number of `L4:1`; None is any number, as in `L4`.

    Raises:
        ValueError: what follows the colon is no number above 0.
    """
    name, colon, count = text.partition(":")
    if not colon:
        return name, None
    try:
        number = float(count)
    except ValueError:
        number = 0.0
    if not name or not 0 < number < float("inf"):
        raise ValueError(f"{text!r} is no accelerator: write a name, or name:number, such as L4:1")
    return name, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the job may cost."""

    max_usd: Decimal | None = None
    """Cap on the whole run in dollars; None: no cap."""
    deadline_hours: float | None = None
    """Hours from launch to finished job; None: no deadline."""
    confidence: float = 0.5
    """0.5: the expected figures must keep to cap and deadline; 0.9: the high ends of their intervals must."""

    requote: str = Requoting.ASK
    """A `Requoting`: what follows where the probe on the machine exceeds the quote by more, or the cap."""
    requote_above: float = 0.25
    """Share above the quote that is tolerated."""

    @property
    def is_sure(self) -> bool:
        """Whether the high ends are compared with the limits."""
        return self.confidence > CONFIDENCES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which offers may be considered; an empty tuple allows all."""

    clouds: tuple[str, ...] = ()
    """Lower-case names as SkyPilot spells them: aws, gcp, azure, lambda, runpod, nebius, slurm, local ..."""
    regions: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    """SkyPilot's names, with or without a number of them: L4, A100-80GB:8, H100 ..."""
    spot: bool = False
    """Whether spot offers may be chosen (they can be preempted)."""
    max_nodes: int = 1
    """Machines that may share the job."""
    on_paper: bool = False
    """Whether machines are ranked too on which the training program does not run yet; they cannot be launched."""
    image: str | None = None
    """What the machine boots, as SkyPilot's `image_id`: `docker:<image>`, or a cloud's own id; None: SkyPilot's."""


KEEP_BOTH, KEEP_HOME, KEEP_BUCKET = "both", "home", "bucket"
"""Values of `storage.keep`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where the run is kept besides its machine's disk."""

    bucket: str | None = None
    """s3://bucket/prefix or gs://bucket/prefix, in which each run has a folder; None: what the setting says."""
    keep: str = KEEP_BOTH
    """both, home (the run's folder in the bucket goes when its results are home) or bucket (the tuned model does not
    come home before somebody fetches it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One fine-tuning job as asked for."""

    name: str
    """Short name of the job, [a-z0-9-]; run ids start with it."""
    task: str
    model: ModelChoice
    data: DataChoice
    method: MethodChoice = field(default_factory=MethodChoice)
    training: TrainingChoice = field(default_factory=TrainingChoice)
    budget: Budget = field(default_factory=Budget)
    where: Where = field(default_factory=Where)
    target: TargetChoice | None = None
    project: str | None = None
    """What the run is charged to, where a budget of that name is kept; None: no project."""
    secrets: tuple[str, ...] = ()
    """Names of environment variables that the task needs; their values are read at launch and kept nowhere."""
    storage: Storage = field(default_factory=Storage)

    @property
    def may_end_early(self) -> bool:
        """Whether the program itself may end before its last step: at its target, or where it stops getting better."""
        return self.target is not None or self.training.early_stopping_patience is not None


def spec_content(spec: RunSpec) -> dict[str, Any]:
    """What was asked, for hashes: what later versions added and a job does not name is left out, so ids stay."""
    content = asdict(spec)
    if spec.project is None:
        del content["project"]
    if not spec.secrets:
        del content["secrets"]
    if spec.storage == Storage():
        del content["storage"]
    elif spec.storage.keep == Storage().keep:
        del content["storage"]["keep"]
    if spec.where.image is None:
        del content["where"]["image"]
    usual = Budget()
    for name in ("requote", "requote_above"):
        if content["budget"][name] == getattr(usual, name):
            del content["budget"][name]
    return content
