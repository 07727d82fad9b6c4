"""A SkyPilot client that runs one job and prints what happened as one JSON line, the last.

Run as a process of its own in the lab's environment: `python one_job.py CLUSTER GPU SETUP RUN`.
The cluster is down when it ends, also after a failure.
"""

import io
import json
import re
import sys
import time
from typing import Any

import sky

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def run_job(cluster: str, gpu: str, setup: str, run: str) -> dict[str, object]:
    """Launch, follow the log to its end, take the cluster down."""
    task = sky.Task(name="probe", setup=setup, run=run)
    task.set_resources(sky.Resources(infra="slurm", accelerators=gpu))
    begin = time.monotonic()
    try:
        # SkyPilot types the handle more widely than what a launch gives.
        outcome: Any = sky.stream_and_get(sky.launch(task, cluster_name=cluster))
        job_id, handle = outcome
        launch_s = time.monotonic() - begin
        log = io.StringIO()
        exit_code = sky.tail_logs(cluster, job_id, follow=True, output_stream=log)
        job_s = time.monotonic() - begin - launch_s
    finally:
        _down(cluster)
    return {
        "exit_code": exit_code,
        "log": _ESCAPE.sub("", log.getvalue()),
        "partition": handle.launched_resources.zone,
        "price_usd_per_hour": handle.launched_resources.get_cost(3600),
        "clusters_left": [record["name"] for record in sky.get(sky.status())],
        "launch_s": round(launch_s, 1),
        "job_s": round(job_s, 1),
        "down_s": round(time.monotonic() - begin - launch_s - job_s, 1),
    }


def _down(cluster: str) -> None:
    try:
        sky.get(sky.down(cluster))
    except sky.exceptions.ClusterDoesNotExist:
        return


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_job(*sys.argv[1:5])) + "\n")
