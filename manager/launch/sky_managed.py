"""What the worker process does for managed jobs: operations of `manager.launch.sky_backend`, with SkyPilot imported
inside them.

Owns the questions and orders, as JSON objects; what an answer means is `manager.launch.managed`'s. A managed job is
only ever started where its controller is a part of this machine's API server (SkyPilot's consolidation mode), so that
the clusters of its jobs stand in the tables of this machine too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manager.launch.inventory import RUN_TAG
from manager.launch.sky_price_check import check_prices, price_usd_per_hour
from manager.launch.sky_provider import instances_of, provider_facts
from manager.launch.sky_wire import LineSink, Operation, Reply

_MODE = ("jobs", "controller", "consolidation_mode")
_LAUNCH = "jobs.launch"
"""How the name of a request ends that submits a managed job (sky/server/requests/request_names.py)."""
_FIELDS = ("job_id", "job_name", "status", "recovery_count", "failure_reason", "submitted_at", "start_at", "end_at")


class NotConsolidatedError(Exception):
    """The controller would be a machine of its own, which costs; nothing was started."""


def managed_mode(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Where the controller of a managed job would run; `start` starts the API server, which decides it at its start."""
    import sky
    from sky import skypilot_config
    from sky.client import sdk
    from sky.server import common as server_common

    is_local = bool(server_common.is_api_server_local())
    if is_local and args.get("start"):
        sky.get(sdk.enabled_clouds())
    status = server_common.get_api_server_status().status
    is_running = status == server_common.ApiServerStatus.HEALTHY
    return {
        "api_server_is_local": is_local,
        "is_running": is_running,
        "is_consolidated": is_local and is_running and _is_consolidated(),
        "is_configured": bool(skypilot_config.get_nested(_MODE, None)),
    }


def managed_launch(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Submit a managed job under its name; one of this name that has not ended is that job."""
    import sky

    known = _job(args["name"])
    if known is not None and not known["is_over"]:
        return {"job_id": known["job_id"]}
    # Looked at here too: between the question and the order the API server may be another.
    if not _is_consolidated():
        raise NotConsolidatedError("SkyPilot would rent a machine for the controller of managed jobs")
    task = sky.Task.from_yaml_config(args["task"])
    check_prices(task.resources)
    job_ids, _ = sky.stream_and_get(sky.jobs.launch(task, name=args["name"], job_group=None))
    if not job_ids:
        raise RuntimeError(f"SkyPilot gave the managed job {args['name']} no number")
    return {"job_id": int(job_ids[0])}


def managed_job(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """A job by its name: its state, the machine that it has now, and all that it had; `job` None: there is none."""
    from sky import global_user_state

    job = _job(args["name"])
    if job is None:
        return {"job": None, "cluster": None, "machines": []}
    cluster = _cluster_name(args["name"], job["job_id"])
    record = global_user_state.get_cluster_from_name(cluster)
    history = global_user_state.get_clusters_from_history(cluster_names=[cluster])
    return {
        "job": job,
        "cluster": None if record is None else {"name": cluster, "status": record["status"].value},
        "provider": None if record is None else provider_facts(record["handle"]),
        "machines": [machine for one in history for machine in _machines(one)],
    }


def managed_tail(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The job's log from its first line, until the job ends where `follow` says so."""
    import sky

    sink = LineSink(reply.line)
    sky.jobs.tail_logs(job_id=args["job_id"], follow=bool(args.get("follow", True)), output_stream=sink)
    sink.close()
    return {}


def managed_cancel(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """End unfinished launches of the job, then ask for its end and that of its machine; `existed` tells whether there
    was one that had not ended. A launch that is cancelled may have made its job before: ask again until there is none.
    """
    import sky

    launches = _launches(args["name"])
    if launches:
        sky.get(sky.api_cancel(launches, silent=True))
    job = _job(args["name"])
    if job is None or job["is_over"]:
        return {"existed": False, "cancelled_requests": launches}
    sky.get(sky.jobs.cancel(job_ids=[job["job_id"]]))
    return {"existed": True, "cancelled_requests": launches}


def managed_left(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """What SkyPilot has of a job, and, where its facts are known, what the provider itself says is there."""
    from sky import global_user_state

    # First: what ends between the two questions has made its job.
    launches = _launches(args["name"], with_untold=True)
    job = _job(args["name"])
    cluster = None if job is None else _cluster_name(args["name"], job["job_id"])
    record = None if cluster is None else global_user_state.get_cluster_from_name(cluster)
    known = args.get("provider") or (None if record is None else provider_facts(record["handle"]))
    return {
        "launches": launches,
        "job": job,
        "cluster": None if record is None else f"{cluster} ({record['status'].value})",
        "provider": None if known is None else known["name"],
        "instances": None if known is None or cluster is None else instances_of(cluster, known),
    }


def managed_jobs(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Jobs that have not ended and whose names begin with `prefix`, of this user, with the tag of their machines."""
    if not _is_consolidated():
        return {"jobs": []}
    found = [job for job in _jobs(args["prefix"]) if not job["is_over"] and job["name"].startswith(args["prefix"])]
    return {"jobs": [{**job, "run_id": _tag(job)} for job in found]}


OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        managed_mode,
        managed_launch,
        managed_job,
        managed_tail,
        managed_cancel,
        managed_left,
        managed_jobs,
    )
}


def _is_consolidated() -> bool:
    """The API server leaves this mark at its start, and SkyPilot itself goes by it."""
    from sky.jobs import constants

    return Path(constants.JOBS_CONSOLIDATION_RELOADED_SIGNAL_FILE).expanduser().exists()


def _launches(name: str, *, with_untold: bool = False) -> list[str]:
    """Unfinished requests for a job of this name: in SkyPilot's list they all have the cluster of their controller, and
    only what was sent tells them apart. `with_untold`: also those of this user of which it cannot be read."""
    import sky
    from sky.utils import common_utils

    own = common_utils.get_user_hash()
    asked = [(one, _asked_name(one.request_body)) for one in sky.api_status() if one.name.endswith(_LAUNCH)]
    return [
        one.request_id for one, told in asked if told == name or (with_untold and told is None and one.user_id == own)
    ]


def _asked_name(body: str) -> str | None:
    """Name of the job in a request's text, empty where it has none; None: the text is not shown."""
    try:
        return str(json.loads(body)["name"] or "")
    except (ValueError, KeyError, TypeError):
        return None


def _job(name: str) -> dict[str, Any] | None:
    """The latest job of exactly this name."""
    found = [job for job in _jobs(name) if job["name"] == name]
    return max(found, key=lambda job: int(job["job_id"]), default=None)


def _jobs(match: str) -> list[dict[str, Any]]:
    import sky

    records = sky.get(sky.jobs.queue_v2(refresh=False, name_match=match, fields=list(_FIELDS)))[0]
    return [
        {
            "job_id": int(record.job_id),
            "name": record.job_name,
            "status": record.status.value,
            "is_over": record.status.is_terminal(),
            "recoveries": int(record.recovery_count or 0),
            "reason": record.failure_reason,
            "submitted_at_s": record.submitted_at,
            "ended_at_s": record.end_at,
        }
        for record in records
    ]


def _tag(job: dict[str, Any]) -> str | None:
    """Of the run, as the machines of a job have it; None: it has had none yet."""
    from sky import global_user_state

    history = global_user_state.get_clusters_from_history(cluster_names=[_cluster_name(job["name"], job["job_id"])])
    labels = [one["resources"].labels or {} for one in history if one["resources"] is not None]
    return next((label[RUN_TAG] for label in labels if RUN_TAG in label), None)


def _cluster_name(name: str, job_id: int) -> str:
    from sky.jobs import utils

    return str(utils.generate_managed_job_cluster_name(name, job_id))


def _machines(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Stretches of time in which SkyPilot had the record's machine, or was starting it."""
    resources, nodes = record["resources"], record["num_nodes"] or 1
    if resources is None:
        return []
    price = price_usd_per_hour(resources)
    return [
        {
            "from_s": float(start),
            "to_s": None if end is None else float(end),
            "cloud": str(resources.cloud).lower(),
            "region": resources.region,
            "zone": resources.zone,
            "instance_type": resources.instance_type,
            "price_usd_per_hour": None if price is None else price * nodes,
            "is_up": record["status"] is not None and record["status"].value == "UP",
        }
        for start, end in record["usage_intervals"] or []
    ]
