"""What tunefare renders is a task for the SkyPilot that is installed."""

import importlib.util
import json
import socket
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.launch.engine import LaunchRequest
from manager.launch.render import render_yaml
from manager.launch.sky_check import check_sky
from manager.launch.sky_upload import stage_upload
from manager.prices.offer import Offer
from tasks.job import DataChoice, Job, ModelChoice

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sky") is None, reason="needs the [sky] extra")

READ = """
import json, sys, yaml
import sky
tasks = [sky.Task.from_yaml_config(yaml.safe_load(open(path))) for path in sys.argv[1:]]
print(json.dumps([[{
    "cloud": str(r.cloud).lower(), "region": r.region, "zone": r.zone, "instance": r.instance_type,
    "spot": r.use_spot, "labels": r.labels, "down": bool(r.autostop_config and r.autostop_config.down),
} for r in (task.resources if isinstance(task.resources, list) else list(task.resources))] for task in tasks]))
"""


def offer(cloud: str, region: str | None, instance_type: str | None, accelerator: str, *, spot: bool = False) -> Offer:
    return Offer(
        cloud=cloud,
        region=region,
        instance_type=instance_type,
        accelerator=accelerator,
        accelerator_count=1.0,
        accelerator_memory_bytes=None,
        vcpus=None,
        host_memory_bytes=None,
        use_spot=spot,
        price_usd_per_hour=Decimal("0.80"),
        price_source="test",
        price_age_s=None,
    )


AWS = offer("aws", "us-east-1", "g6.xlarge", "L4")
GCP = offer("gcp", "us-central1", "g2-standard-4", "L4", spot=True)
LAMBDA = offer("lambda", "us-east-1", "gpu_1x_a10", "A10")
SLURM = offer("slurm", "lab", "a100b", "A100")


def test_skypilot_reads_each_task_as_it_was_meant(tmp_path: Path) -> None:
    # A HOME of its own: the catalogs of this machine, or none at all, must not decide.
    home = tmp_path / "home"
    write_catalogs(home / ".sky" / "catalogs" / "v8")
    job = Job(run_id="demo-1", model=ModelChoice(source="a; b"), data=DataChoice(source="'$(c)'"))
    files = []
    for index, offers in enumerate([(AWS,), (GCP,), (LAMBDA,), (SLURM,), (AWS, GCP)]):
        request = LaunchRequest(
            run_id="demo-1", job=job, offers=offers, run_dir=tmp_path / "run dir", max_duration_s=60.0
        )
        path = tmp_path / f"{index}.yaml"
        path.write_text(render_yaml(request, upload_dir=stage_upload(request)))
        files.append(str(path))
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ, *files],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read: list[list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    expected = [
        [("aws", "us-east-1", None, "g6.xlarge", False)],
        [("gcp", "us-central1", None, "g2-standard-4", True)],
        [("lambda", "us-east-1", None, "gpu_1x_a10", False)],
        [("slurm", "lab", "a100b", None, False)],
        [("aws", "us-east-1", None, "g6.xlarge", False), ("gcp", "us-central1", None, "g2-standard-4", True)],
    ]
    assert [[(r["cloud"], r["region"], r["zone"], r["instance"], r["spot"]) for r in task] for task in read] == expected
    assert all(r["labels"] == {"tunefare-run": "demo-1"} for task in read for r in task)
    assert [task[0]["down"] for task in read] == [True, True, True, False, True]


NAMES = (
    "launch",
    "tail_logs",
    "status",
    "job_status",
    "cancel",
    "down",
    "get",
    "stream_and_get",
    "api_status",
    "api_cancel",
)


def test_skypilot_has_what_the_worker_calls() -> None:
    code = (
        "import sky, sys; from sky import exceptions, provision, global_user_state; from sky.client import sdk;"
        "from sky.provision.slurm import utils as slurm; from sky.utils import common_utils as common;"
        "wanted = [(sky, n) for n in sys.argv[1:]] + [(sdk, 'enabled_clouds'), (sky.StatusRefreshMode, 'FORCE'),"
        " (exceptions, 'ClusterDoesNotExist'), (exceptions, 'ResourcesUnavailableError'),"
        " (provision, 'query_instances'),"
        " (global_user_state, 'get_cluster_yaml_dict'), (slurm, 'get_slurm_ssh_config'), (slurm, 'get_submit_user'),"
        " (slurm, 'get_identity_file'), (slurm, 'get_identities_only'), (common, 'make_cluster_name_on_cloud')];"
        "print([n for o, n in wanted if not hasattr(o, n)])"
    )
    command = [sys.executable, "-P", "-c", code, *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_worker_answers_where_no_api_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKYPILOT_API_SERVER_LOCAL_PORT", str(port))
    monkeypatch.delenv("SKYPILOT_API_SERVER_ENDPOINT", raising=False)
    check = check_sky(log_path=tmp_path / "sky.log")
    assert check.problem is None
    assert check.api_server == "unhealthy"
    assert check.clouds is None


COLUMNS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
)


def write_catalogs(folder: Path) -> None:
    """The smallest catalogs in which the offers of this test exist; SkyPilot downloads what it does not find."""
    rows = {
        "aws": "g6.xlarge,L4,1,4,16,,0.8048,0.3,us-east-1,us-east-1a\n",
        "gcp": "g2-standard-4,L4,1,4,16,,0.7,0.2,us-central1,us-central1-a\n",
        "lambda": "gpu_1x_a10,A10,1,30,200,,0.75,,us-east-1,\n",
    }
    for cloud, row in rows.items():
        (folder / cloud).mkdir(parents=True)
        (folder / cloud / "vms.csv").write_text(COLUMNS + row)
    (folder / "common").mkdir()
    names = "".join(f"{name},\"['AWS']\"\n" for name in ("A10", "A100", "L4"))
    (folder / "common" / "accelerators.csv").write_text("AcceleratorName,Clouds\n" + names)
