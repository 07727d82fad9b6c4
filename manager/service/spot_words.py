"""What happens to a run when its spot machine is taken back, said before the launch. Pure."""

from __future__ import annotations

from manager.launch.engine import LaunchRequest, SpotRecovery
from manager.launch.managed_task import wants_recovery

NAME_A_BUCKET = "storage.bucket: s3://bucket/prefix in the run file, or `tunefare config set bucket s3://bucket/prefix`"


def spot_words(request: LaunchRequest) -> str | None:
    """One sentence; None: the machine is not on spot."""
    if not request.offers or not request.offers[0].use_spot:
        return None
    if wants_recovery(request):
        return (
            "A preempted machine is replaced by SkyPilot, and the run goes on from its bucket; cap and longest "
            "duration hold over all of its machines."
        )
    if request.spot_recovery is SpotRecovery.NONE:
        return "A preemption ends this run, as the setting spot_recovery says."
    return f"A preemption ends this run: it has no bucket. To let it go on: {NAME_A_BUCKET}."


def spot_warning(request: LaunchRequest) -> str | None:
    """The sentence where a preemption ends the run; None: it does not, or the machine is not on spot."""
    return None if wants_recovery(request) else spot_words(request)
