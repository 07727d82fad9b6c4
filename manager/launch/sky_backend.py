"""The one module that imports SkyPilot: what the worker process does for `manager.launch.sky_worker`.

`python -m manager.launch.sky_backend` serves the requests that `manager.launch.sky_wire` describes; each operation is a
function here, with its arguments as a JSON object. It takes no decision: retries, time limits and what an answer means
are the engine's. SkyPilot is imported inside the functions: a worker that cannot import it still answers.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from manager.launch import sky_managed
from manager.launch.inventory import RUN_TAG
from manager.launch.sky_dead_server import end_orphans
from manager.launch.sky_price_check import check_prices, price_usd_per_hour
from manager.launch.sky_provider import instances_of, provider_facts, slurm_facts
from manager.launch.sky_wire import LineSink, Operation, Reply, plain, serve

CATALOG_FILE = "vms.csv"
"""SkyPilot's name for the prices of one cloud."""


_SOURCE = re.compile(r"[~/][~/A-Za-z0-9_.*-]*")
_SHELL_GOES_BY = re.compile(r"[\s;&|<>()$`\"'\\*?\[\]{}!#]")


class UnknownOfferError(Exception):
    """SkyPilot's catalogs do not have what the task asks for; nothing was started."""


def launch(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Provision, copy files, submit the job; `task` is the task as data, `cluster` the name."""
    import sky

    try:
        task = sky.Task.from_yaml_config(args["task"])
        check_prices(task.resources)
        request_id = sky.launch(task, cluster_name=args["cluster"], retry_until_up=False)
    except ValueError as error:
        raise UnknownOfferError(str(error)) from error
    answer: tuple[int | None, Any] = sky.stream_and_get(request_id)
    job_id, handle = answer
    resources = handle.launched_resources
    return {
        "job_id": job_id,
        "cloud": str(resources.cloud).lower(),
        "region": resources.region,
        "zone": resources.zone,
        "instance_type": resources.instance_type,
        "accelerators": resources.accelerators,
        "use_spot": resources.use_spot,
        "nodes": handle.launched_nodes,
        "price_usd_per_hour": _price(resources, handle.launched_nodes),
        "provider": provider_facts(handle),
    }


def tail(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The job's log from its first line, until the job ends; `job_id` None is the latest job."""
    import sky

    sink = LineSink(reply.line)
    exit_code = sky.tail_logs(args["cluster"], args.get("job_id"), follow=True, output_stream=sink)
    sink.close()
    return {"exit_code": exit_code}


def status(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """State of cluster and job; `refresh` asks the provider instead of SkyPilot's table."""
    import sky

    record = _record(args["cluster"], refresh=bool(args.get("refresh")))
    if record is None:
        return {"cluster": None, "job": None}
    answer: dict[str, Any] = {"cluster": record["status"].value, "job": None}
    if answer["cluster"] == "UP":
        job_id = args.get("job_id")
        jobs = sky.get(sky.job_status(args["cluster"], None if job_id is None else [job_id]))
        states = [state.value for state in jobs.values() if state is not None]
        answer["job"] = states[-1] if states else None
    return answer


def run(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Run a short script on the head node; `env` reaches it as quoted assignments."""
    assignments = "".join(f"export {name}={shlex.quote(value)}; " for name, value in args.get("env", {}).items())
    command = f"bash -c {shlex.quote(assignments + args['script'])}"
    code, out, err = _head(args["cluster"]).run(command, require_outputs=True, stream_logs=False, separate_stderr=True)
    return {"exit_code": code, "out": out, "err": plain(err)[-2000:]}


def fetch(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Copy files or folders (with a trailing slash) from the head node; missing ones are named, not an error.

    A source may hold `*`: then the last match by name is taken. It reaches a shell as it is, for `~` and `*`: so one
    with any other letter that a shell goes by is refused.
    """
    for _, source in _sources(args):
        if _SOURCE.fullmatch(source) is None:
            raise ValueError(f"{source!r} cannot be fetched: it is no plain path")
    runner = _head(args["cluster"])
    # Asked beforehand: SkyPilot's rsync waits and tries again when a source does not exist.
    script = "; ".join(
        f"ls -d {source} 2>/dev/null | tail -n 1 | sed 's/^/FOUND {i} /'" for i, source in _sources(args)
    )
    out = runner.run(script, require_outputs=True, stream_logs=False, separate_stderr=True)[1]
    answers = re.findall(r"^FOUND (\d+) (.+)$", out, re.MULTILINE)
    # A name that the machine gave goes into a command line too.
    found = {int(index): path for index, path in answers if _SHELL_GOES_BY.search(path) is None}
    for index, path in found.items():
        # rsync makes the last folder of a path alone.
        Path(args["items"][index][1]).parent.mkdir(parents=True, exist_ok=True)
        runner.rsync(path, args["items"][index][1], up=False, stream_logs=False)
    return {
        "fetched": [source for i, source in _sources(args) if i in found],
        "missing": [source for i, source in _sources(args) if i not in found],
    }


def cancel(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """End the job by SkyPilot's means."""
    import sky

    job_id = args.get("job_id")
    if job_id is None:
        sky.get(sky.cancel(args["cluster"], all=True))
    else:
        sky.get(sky.cancel(args["cluster"], job_ids=[job_id]))
    return {}


def provider(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """What is needed to ask the provider itself about the cluster, while SkyPilot still knows it."""
    record = _record(args["cluster"])
    facts = None if record is None else provider_facts(record["handle"])
    return {"existed": record is not None, "provider": facts}


def states(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """States of the machines that the provider, by the facts of `provider`, says are there."""
    return {"states": list(instances_of(args["cluster"], args["provider"]).values())}


def down(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """End unfinished launches of the cluster, then the cluster; `existed` tells whether there was one."""
    import sky
    from sky import exceptions

    cancelled = _cancel_launches(args["cluster"])
    try:
        sky.stream_and_get(sky.down(args["cluster"]))
    except exceptions.ClusterDoesNotExist:
        return {"existed": False, "cancelled_requests": cancelled}
    return {"existed": True, "cancelled_requests": cancelled}


def evidence(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """What SkyPilot (after a forced refresh) and, where its facts are known, the provider say is left."""
    record = _record(args["cluster"], refresh=True)
    # The cluster that there is now was made by the latest attempt.
    is_latest = record is not None and not args.get("is_earlier")
    known = args.get("provider") or (provider_facts(record["handle"]) if is_latest else None)
    if known is None and args.get("slurm_cluster"):
        known = slurm_facts(args["cluster"], args["slurm_cluster"])
    instances = None if known is None else instances_of(args["cluster"], known)
    return {
        "cluster": None if record is None else record["status"].value,
        "launches": _active_launches(args["cluster"]),
        "provider": None if known is None else known["name"],
        "instances": instances,
    }


def clusters(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Clusters of this user under a run's tag, after a forced refresh of these alone."""
    import sky

    names = [record["name"] for record in sky.get(sky.status(None)) if _labels(record).get(RUN_TAG)]
    records = sky.get(sky.status(names, refresh=sky.StatusRefreshMode.FORCE)) if names else []
    return {"clusters": [_cluster(record) for record in records if record["name"] in names]}


def check(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Version, API server and clouds; starts no API server."""
    import sky
    from sky.client import sdk
    from sky.server import common as server_common

    info = server_common.get_api_server_status()
    healthy = info.status == server_common.ApiServerStatus.HEALTHY
    return {
        "version": sky.__version__,
        "api_server": info.status.value,
        "endpoint": server_common.get_server_url(),
        "api_server_is_local": bool(server_common.is_api_server_local()),
        "clouds": sorted(str(cloud) for cloud in sky.get(sdk.enabled_clouds())) if healthy else None,
        "managed": sky_managed.managed_mode({}, reply),
    }


def download_catalog(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Let SkyPilot download one cloud's price catalog into `folder`, which is empty: what it has stays as it is.

    `url` replaces SkyPilot's own address of the catalogs.
    """
    # Read by SkyPilot when it is imported, so this process is for catalogs alone.
    os.environ["SKY_RUNTIME_DIR"] = args["folder"]
    import sky  # noqa: F401 - the catalog asks for the name of its cloud, which this registers
    from sky.catalog import common
    from sky.skylet import constants

    if args.get("url"):
        constants.HOSTED_CATALOG_DIR_URL = constants.HOSTED_CATALOG_DIR_URL_S3_MIRROR = args["url"]
    name = f"{args['cloud']}/{CATALOG_FILE}"
    path = common.get_catalog_path(name)
    if not Path(path).is_relative_to(args["folder"]):
        raise RuntimeError(f"SkyPilot would write {path}, outside of {args['folder']}")
    # SkyPilot downloads a missing catalog at the first look into it, and raises where that fails.
    rows = int(common.read_catalog(name).shape[0])
    return {
        "path": path,
        "rows": rows,
        "source": f"{constants.HOSTED_CATALOG_DIR_URL}/{constants.CATALOG_SCHEMA_VERSION}",
    }


def install_catalog(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Put a downloaded catalog where SkyPilot reads it, as it would itself: under its lock, with its checksum.

    One that somebody has changed since SkyPilot wrote it stays, if `replace` does not say otherwise.
    """
    import filelock

    directory, name = Path(args["directory"]), f"{args['cloud']}/{CATALOG_FILE}"
    target, checksum = directory / name, directory / ".meta" / f"{name}.md5"
    checksum.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = Path(args["path"]).read_bytes()
    with filelock.FileLock(checksum.with_suffix(".lock")):
        if target.exists() and not args.get("replace") and not _is_skypilots(target, checksum):
            return {"installed": False}
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.write_bytes(content)
        os.replace(beside, target)
        checksum.write_text(_md5(content), encoding="utf-8")
    return {"installed": True}


OPERATIONS: dict[str, Operation] = sky_managed.OPERATIONS | {
    operation.__name__: operation
    for operation in (
        launch,
        tail,
        status,
        run,
        fetch,
        cancel,
        provider,
        states,
        down,
        evidence,
        clusters,
        check,
        download_catalog,
        install_catalog,
    )
}


def main() -> int:
    """Serve requests until standard input closes."""
    serve({name: _without_orphans(operation) for name, operation in OPERATIONS.items()})
    return 0


def _without_orphans(operation: Operation) -> Operation:
    """The operation, before which what an API server left that was killed is ended."""

    def answer(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
        end_orphans(port=_queue_port, folder=Path("~/.sky").expanduser().resolve())
        return operation(args, reply)

    return answer


def _queue_port() -> int:
    from sky.server.requests.queues import mp_queue

    return int(mp_queue.get_queue_manager_port())


def _record(cluster: str, *, refresh: bool = False) -> Any:
    import sky

    mode = sky.StatusRefreshMode.FORCE if refresh else sky.StatusRefreshMode.NONE
    records = sky.get(sky.status([cluster], refresh=mode))
    return next((record for record in records if record["name"] == cluster), None)


def _labels(record: Any) -> dict[str, str]:
    return dict(record["handle"].launched_resources.labels or {}) if record["handle"] is not None else {}


def _cluster(record: Any) -> dict[str, Any]:
    handle = record["handle"]
    resources = handle.launched_resources
    return {
        "name": record["name"],
        "status": record["status"].value,
        "run_id": _labels(record).get(RUN_TAG),
        "cloud": str(resources.cloud).lower(),
        "region": resources.region,
        "instance_type": resources.instance_type,
        "nodes": handle.launched_nodes,
        "price_usd_per_hour": _price(resources, handle.launched_nodes),
        "launched_at_s": record["launched_at"],
    }


def _head(cluster: str) -> Any:
    record = _record(cluster)
    if record is None:
        raise LookupError(f"SkyPilot knows no cluster {cluster}")
    runners = record["handle"].get_command_runners()
    if not runners:
        raise LookupError(f"cluster {cluster} has no machine")
    return runners[0]


def _sources(args: dict[str, Any]) -> list[tuple[int, str]]:
    return [(index, source) for index, (source, _) in enumerate(args["items"])]


def _price(resources: Any, nodes: int) -> float | None:
    price = price_usd_per_hour(resources)
    return None if price is None else price * nodes


def _is_skypilots(catalog: Path, checksum: Path) -> bool:
    """Whether the catalog is what SkyPilot downloaded; one without a checksum was put there by somebody."""
    try:
        return checksum.read_text(encoding="utf-8") == _md5(catalog.read_bytes())
    except FileNotFoundError:
        return False


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _active_launches(cluster: str) -> list[str]:
    import sky

    requests = sky.api_status(cluster_name=cluster)
    return [r.request_id for r in requests if r.cluster_name == cluster and r.name.endswith("launch")]


def _cancel_launches(cluster: str) -> list[str]:
    import sky

    active = _active_launches(cluster)
    if active:
        sky.get(sky.api_cancel(active, silent=True))
    return active


if __name__ == "__main__":
    sys.exit(main())
