"""What a user can type where the end of a machine could not be confirmed, from what is known of it at home. Pure but
for one file of the run's folder."""

from __future__ import annotations

from pathlib import Path

from manager.launch.engine import Evidence, Handle
from manager.launch.sky_attempt import read_attempt

_TAG = "ray-cluster-name"
"""Under which SkyPilot's provisioners label the machines of a cluster (sky/provision/constants.py)."""


def commands_by_hand(handle: Handle, evidence: Evidence | None) -> tuple[str, ...]:
    """Commands that look for what is left and end it, the surest first; none asks tunefare."""
    if handle.engine == "local":
        pids = [
            words[0] for left in (evidence.left if evidence else ()) if (words := left.split()) and words[0].isdigit()
        ]
        return (f"kill -9 {' '.join(pids)}",) if pids else (f"pgrep -af {handle.name}",)
    return (f"sky down {handle.name}", *_provider_commands(handle))


def _provider_commands(handle: Handle) -> tuple[str, ...]:
    """The provider's own command line, where the launch left its facts; SkyPilot may know nothing any more."""
    attempt = read_attempt(Path(handle.run_dir))
    if attempt is None or attempt.cloud is None:
        return (f"sky status --refresh {handle.name}",)
    name = handle.name if attempt.provider is None else str(attempt.provider.get("name_on_cloud", handle.name))
    match attempt.cloud:
        case "aws":
            region = f" --region {attempt.region}" if attempt.region else ""
            return (f"aws ec2 describe-instances{region} --filters Name=tag:{_TAG},Values={name}*",)
        case "gcp":
            return (f"gcloud compute instances list --filter=labels.{_TAG}:{name}",)
        case "kubernetes":
            return (f"kubectl get pods --all-namespaces -l {_TAG}={name}",)
        case "slurm":
            return (f"squeue --name {name}", f"scancel --name {name}")
        case _:
            return (f"sky status --refresh {handle.name}", f"look for {name} in the console of {attempt.cloud}")
