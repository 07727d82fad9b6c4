"""What a user can type where the end of a machine could not be confirmed, from what is known of it at home. Pure but
for one file of the run's folder."""

from __future__ import annotations

import re
from pathlib import Path

from manager.launch.aws_end import regions_of, was_on_aws
from manager.launch.aws_inventory import CLOUD, terminate_command
from manager.launch.engine import Evidence, Handle
from manager.launch.inventory import CLUSTER_TAG
from manager.launch.sky_attempt import Attempt, read_attempt

_ON_AWS = re.compile(r"aws (\S+) ((?:i|vol)-[0-9a-z]+) ")
"""Evidence says of what is left on AWS: `Rented.told`."""


def commands_by_hand(handle: Handle, evidence: Evidence | None) -> tuple[str, ...]:
    """Commands that look for what is left and end it, the surest first; none asks tunefare."""
    if handle.engine == "local":
        pids = [
            words[0] for left in (evidence.left if evidence else ()) if (words := left.split()) and words[0].isdigit()
        ]
        return (f"kill -9 {' '.join(pids)}",) if pids else (f"pgrep -af {handle.name}",)
    return (f"sky down {handle.name}", *_provider_commands(handle, evidence))


def _provider_commands(handle: Handle, evidence: Evidence | None) -> tuple[str, ...]:
    """The provider's own command line, where the launch left its facts; SkyPilot may know nothing any more."""
    attempt = read_attempt(Path(handle.run_dir))
    if attempt is None:
        return (f"sky status --refresh {handle.name}",)
    left = () if evidence is None else evidence.left
    told: list[str] = list(_aws_commands(handle, attempt, left)) if was_on_aws(attempt) else []
    for one in reversed(attempt.all):
        told += [] if one.cloud == CLOUD else _commands_elsewhere(handle, one)
    return tuple(dict.fromkeys(told))


def _commands_elsewhere(handle: Handle, attempt: Attempt) -> tuple[str, ...]:
    """Beyond AWS, where the run has one tag in all regions."""
    name = handle.name if attempt.provider is None else str(attempt.provider.get("name_on_cloud", handle.name))
    match attempt.cloud:
        case None:
            return (f"sky status --refresh {handle.name}",)
        case "gcp":
            return (f"gcloud compute instances list --filter=labels.{CLUSTER_TAG}:{name}",)
        case "kubernetes":
            return (f"kubectl get pods --all-namespaces -l {CLUSTER_TAG}={name}",)
        case "slurm":
            return (f"squeue --name {name}", f"scancel --name {name}")
        case _:
            return (f"sky status --refresh {handle.name}", f"look for {name} in the console of {attempt.cloud}")


def _aws_commands(handle: Handle, attempt: Attempt, left: tuple[str, ...]) -> tuple[str, ...]:
    """The end of what AWS said is left, by its ids; where it said nothing, of what has the run's tag in each region."""
    named = [found.groups() for text in left if (found := _ON_AWS.match(text))]
    if named:
        machines: dict[str, list[str]] = {}
        for region, thing in named:
            if thing.startswith("i-"):
                machines.setdefault(region, []).append(thing)
        ends = [terminate_command(region, "", ids) for region, ids in machines.items()]
        disks = [
            f"aws ec2 delete-volume --region {region} --volume-id {thing}"
            for region, thing in named
            if thing.startswith("vol-")
        ]
        return (*ends, *disks)
    run_id = str(handle.details.get("run_id", handle.name.removeprefix("tf-")))
    return tuple(terminate_command(region, run_id) for region in regions_of(attempt) or (None,))
