"""What two plans were asked: fields of the run file and facts of the workload that are not the same.

Values are texts as a run file writes them, because they are read and never computed with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from manager.planner.plan import Plan
from manager.spec.model import RunSpec
from manager.workload.profile import WorkloadProfile

_RENAMED = {
    "method.lora_rank": "method.rank",
    "method.lora_alpha": "method.alpha",
    "method.lora_dropout": "method.dropout",
    "method.lora_targets": "method.targets",
}
"""Where a run file has another name than the dataclass."""
_WITHOUT_VALUE = {"training.micro_batch": "auto", "training.gradient_checkpointing": "auto"}
_HASH_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that was asked, or that followed from it, and is not what it was."""

    name: str
    """Dotted key of the run file, or the fact's name with its unit."""
    old: str | None
    """None: not set, or unknown."""
    new: str | None


def spec_changes(old: RunSpec, new: RunSpec) -> tuple[Change, ...]:
    """Fields of the run file with another value, in the file's order."""
    before, after = dict(_flat(asdict(old))), dict(_flat(asdict(new)))
    return _changes(before, after)


def workload_changes(old: Plan, new: Plan) -> tuple[Change, ...]:
    """What the job demands of any machine and is not what it was."""
    return _changes(_facts(old.profile), _facts(new.profile))


def _changes(before: dict[str, str | None], after: dict[str, str | None]) -> tuple[Change, ...]:
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        Change(name=name, old=before.get(name), new=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield _RENAMED.get(name, name), _text(name, value)


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return _WITHOUT_VALUE.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        # An empty list in `where` allows everything.
        return ", ".join(str(entry) for entry in value) or "all"
    if isinstance(value, (float, Decimal)):
        return f"{Decimal(str(value)).normalize():f}"
    return str(value)


def _facts(profile: WorkloadProfile) -> dict[str, str | None]:
    data = profile.data
    return {
        "optimizer steps": f"{profile.steps:,}",
        "samples to train on": f"{data.train_samples:,}",
        "tokens of a sample (mean)": f"{data.mean_tokens:,.1f}",
        "parameters": f"{profile.parameters:,}",
        "parameters trained": f"{profile.trainable_parameters:,}",
        "FLOP a step": f"{profile.flops_per_step:.3g}",
        "contents of the data (sha256)": None if data.sha256 is None else data.sha256[:_HASH_SHOWN],
    }
