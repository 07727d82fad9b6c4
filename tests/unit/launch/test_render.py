"""The rendered SkyPilot task and the folder that goes up with it: nothing a user typed reaches a shell or is lost."""

import io
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from manager.errors import EngineError
from manager.launch.engine import LaunchRequest
from manager.launch.render import cluster_name, render_task, render_yaml, script
from manager.launch.sky_upload import stage_upload, write_job
from manager.prices.offer import Offer
from tasks.job import DataChoice, Job, ModelChoice, parse_job

GOLDEN = Path(__file__).parents[2] / "golden" / "sky_task.yaml"
EVIL = "x; curl evil #'\"$(id)`id`"


def offer(
    cloud: str, region: str | None, instance_type: str | None, accelerator: str | None = "L4", **changes: Any
) -> Offer:
    values: dict[str, Any] = {
        "cloud": cloud,
        "region": region,
        "instance_type": instance_type,
        "accelerator": accelerator,
        "accelerator_count": 1.0 if accelerator else 0,
        "accelerator_memory_bytes": None,
        "vcpus": 8,
        "host_memory_bytes": None,
        "use_spot": False,
        "price_usd_per_hour": Decimal("0.80"),
        "price_source": "test",
        "price_age_s": None,
    }
    return Offer(**{**values, **changes})


AWS = offer("aws", "us-east-1", "g6.xlarge")
SPOT = offer("gcp", "us-central1", "g2-standard-4", use_spot=True)
SLURM = offer("slurm", "lab", "a100b", "A100")


def request(
    run_dir: Path, *offers: Offer, model: str = "org/model", data: str = "org/data", **changes: Any
) -> LaunchRequest:
    job = Job(run_id="demo-1", model=ModelChoice(source=model), data=DataChoice(source=data))
    values = {"offers": offers or (AWS,), **changes}
    return LaunchRequest(run_id="demo-1", job=job, run_dir=run_dir, **values)


def test_golden() -> None:
    text = render_yaml(request(Path("/runs/demo-1"), AWS, SPOT), upload_dir=Path("/runs/demo-1/upload"))
    assert text == GOLDEN.read_text()


def test_the_yaml_says_what_the_data_says() -> None:
    asked = request(Path("/runs/demo-1"), AWS, SPOT, SLURM, max_duration_s=3600.0)
    text = render_yaml(asked, upload_dir=Path("/runs/demo-1/upload"))
    assert YAML(typ="safe", pure=True).load(io.StringIO(text)) == render_task(
        asked, upload_dir=Path("/runs/demo-1/upload")
    )


@pytest.mark.parametrize(
    ("what", "resources"),
    [
        (
            AWS,
            {
                "infra": "aws/us-east-1",
                "instance_type": "g6.xlarge",
                "accelerators": "L4:1",
                "max_hourly_cost": 0.88,
                "disk_size": 128,
            },
        ),
        (SPOT, {"infra": "gcp/us-central1", "use_spot": True, "instance_type": "g2-standard-4"}),
        (SLURM, {"infra": "slurm/lab/a100b", "accelerators": "A100:1"}),
        (offer("slurm", "lab", "cpu", None), {"infra": "slurm/lab/cpu", "cpus": "8+"}),
        (offer("kubernetes", None, "4CPU--16GB", "H100"), {"infra": "k8s", "accelerators": "H100:1"}),
        (
            offer("kubernetes", "arn:aws:eks:eu:1:cluster/team", None, "H100"),
            {"infra": "k8s/arn:aws:eks:eu:1:cluster/team"},
        ),
        (offer("vast", None, None), {"infra": "vast", "max_hourly_cost": 0.88}),
    ],
)
def test_resources_of_an_offer(what: Offer, resources: dict[str, Any]) -> None:
    task = render_task(request(Path("/r"), what), upload_dir=Path("/r/upload"))
    assert resources.items() <= task["resources"].items()
    pinned = "instance_type" in task["resources"]
    assert pinned == (what.cloud in ("aws", "gcp"))
    assert task["resources"]["labels"] == {"tunefare-run": "demo-1"}


@pytest.mark.parametrize("cloud", ["primeintellect", "verda", "yotta"])
def test_where_skypilot_refuses_autodown_it_is_not_asked_for(cloud: str) -> None:
    assert "autostop" not in resources(offer(cloud, "r", "machine"))
    assert "autostop" in resources(offer("runpod", "r", "machine"))


def resources(what: Offer, **changes: Any) -> dict[str, Any]:
    task = render_task(request(Path("/r"), what, **changes), upload_dir=Path("/r/upload"))
    found: dict[str, Any] = task["resources"]
    return found


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("tpu-v3-8", "tpu-ubuntu2204-base"),
        ("tpu-v5litepod-8", "v2-alpha-tpuv5-lite"),
        ("tpu-v5p-16", "v2-alpha-tpuv5"),
        ("tpu-v6e-256", "v2-alpha-tpuv6e"),
    ],
)
def test_a_tpu_slice_has_the_runtime_of_its_generation(name: str, runtime: str) -> None:
    asked = resources(offer("gcp", "us-central1", "TPU-VM", name, zones=("us-central1-a",)))
    assert asked["infra"] == "gcp/us-central1/us-central1-a"
    assert asked["accelerators"] == f"{name}:1"
    assert asked["accelerator_args"] == {"tpu_vm": True, "runtime_version": runtime}
    assert asked["max_hourly_cost"] == 0.88
    assert asked["instance_type"] == "TPU-VM"


def test_a_tpu_of_an_unknown_generation_is_refused() -> None:
    with pytest.raises(EngineError, match="tpu-v9x-8"):
        resources(offer("gcp", "us-central1", "TPU-VM", "tpu-v9x-8"))


@pytest.mark.parametrize(
    ("cloud", "zones", "infra"),
    [
        ("gcp", (), "gcp/r"),
        ("gcp", ("r-a",), "gcp/r/r-a"),
        ("gcp", ("r-a", "r-b"), "gcp/r"),
        ("aws", ("use1-az1",), "aws/r"),
        ("runpod", ("CA-MTL-1",), "runpod/r"),
    ],
)
def test_a_zone_is_named_where_its_name_is_known_and_it_is_the_only_one(
    cloud: str, zones: tuple[str, ...], infra: str
) -> None:
    assert resources(offer(cloud, "r", "machine", zones=zones))["infra"] == infra


def test_a_region_that_skypilot_would_read_as_two_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot name the region"):
        resources(offer("vast", "France / FR", "1x-L4"))


def test_several_nodes_are_asked_for_and_the_price_of_one_is_limited() -> None:
    two = offer("aws", "us-east-1", "g6.xlarge", num_nodes=2, price_usd_per_hour=Decimal("1.60"))
    task = render_task(request(Path("/r"), two), upload_dir=Path("/r/upload"))
    assert task["num_nodes"] == 2
    assert task["resources"]["max_hourly_cost"] == 0.88


def test_fallbacks_keep_the_plans_order_and_its_number_of_nodes() -> None:
    offers = (SPOT, SLURM, AWS)
    asked = render_task(request(Path("/r"), *offers), upload_dir=Path("/r/upload"))["resources"]["ordered"]
    assert [one["infra"].partition("/")[0] for one in asked] == ["gcp", "slurm", "aws"]
    with pytest.raises(EngineError, match="numbers of nodes"):
        resources(AWS, offers=(AWS, offer("aws", "us-east-1", "g6.xlarge", num_nodes=2)))


def test_an_image_is_asked_for_on_every_offer() -> None:
    task = render_task(request(Path("/r"), AWS, SPOT, image="docker:ubuntu:24.04"), upload_dir=Path("/r/up"))
    assert [asked["image_id"] for asked in task["resources"]["ordered"]] == ["docker:ubuntu:24.04"] * 2
    plain = render_task(request(Path("/r"), AWS), upload_dir=Path("/r/up"))
    assert "image_id" not in plain["resources"]


def test_without_a_known_price_there_is_no_limit() -> None:
    assert "max_hourly_cost" not in resources(offer("aws", "us-east-1", "p5e", price_usd_per_hour=None))


@pytest.mark.parametrize(("wrap_up_s", "told"), [(0.0, "600"), (5400.5, "5401")])
def test_results_keep_a_machine_as_long_as_the_plan_says_that_they_take(wrap_up_s: float, told: str) -> None:
    planned = request(Path("/runs/demo-1"), AWS, wrap_up_s=wrap_up_s)
    assert render_task(planned, upload_dir=Path("/runs/demo-1/upload"))["envs"]["TUNEFARE_FETCH_MOST_S"] == told


def test_a_machine_downs_itself_when_idle_except_on_slurm_where_skypilot_refuses_it() -> None:
    ordered = render_task(request(Path("/r"), AWS, SLURM), upload_dir=Path("/r/upload"))["resources"]["ordered"]
    assert ordered[0]["autostop"] == {"idle_minutes": 10, "down": True}
    assert "autostop" not in ordered[1]


def test_nothing_typed_by_the_user_is_in_the_yaml_and_the_job_keeps_it(tmp_path: Path) -> None:
    asked = request(tmp_path, model=EVIL, data=f"s3://{EVIL}")
    upload = stage_upload(asked)
    assert "evil" not in render_yaml(asked, upload_dir=upload)
    job = parse_job((upload / "job.json").read_text())
    assert job.model.source == EVIL
    assert job.data.source == f"s3://{EVIL}"


def test_local_inputs_travel_under_fixed_names(tmp_path: Path) -> None:
    model, data = tmp_path / "my model's; $(id)", tmp_path / "da ta's.CSV"
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_text("weights")
    (model / "sub").mkdir(parents=True)
    (model / "model.safetensors").symlink_to(tmp_path / "blobs" / "1")
    (model / "sub" / "config.json").write_text("{}")
    (model / ".gitignore").write_text("*.safetensors")
    data.write_text("text,label\n")
    upload = stage_upload(request(tmp_path / "run", model=str(model), data=str(data)))
    job = parse_job((upload / "job.json").read_text())
    assert (job.model.source, job.data.source) == ("./model_in", "./data_in/data.csv")
    assert (upload / "data_in" / "data.csv").read_text() == "text,label\n"
    weights = upload / "model_in" / "model.safetensors"
    assert weights.read_text() == "weights"
    assert not weights.is_symlink()
    assert (upload / "model_in" / "sub" / "config.json").exists()
    assert not (upload / "model_in" / ".gitignore").exists()
    assert (upload / "tasks" / "protocol.py").exists()
    assert not list(upload.rglob("__pycache__"))


def test_a_data_folder_travels_as_a_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "data.v2"
    folder.mkdir()
    (folder / "train.csv").write_text("x")
    upload = stage_upload(request(tmp_path / "run", data=str(folder)))
    assert parse_job((upload / "job.json").read_text()).data.source == "./data_in"
    assert (upload / "data_in" / "train.csv").exists()


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("x")
    (folder / "again").symlink_to(folder)
    upload = stage_upload(request(tmp_path / "run", data=str(folder)))
    assert [p.name for p in (upload / "data_in").rglob("*.csv")] == ["train.csv"]


def test_an_unknown_price_stays_unknown_in_the_job(tmp_path: Path) -> None:
    asked = request(tmp_path)
    upload = stage_upload(asked)
    write_job(upload, asked, offer("vast", None, None, price_usd_per_hour=None), billing_started_s=5.0)
    guard = parse_job((upload / "job.json").read_text()).guard
    assert (guard.price_usd_per_hour, guard.billing_started_s) == (None, 5.0)


@pytest.mark.parametrize("run_id", ["demo-1", "a" * 63, "bbc-news-20261121-064210-7f3a", "x" * 27])
def test_cluster_names_are_ones_that_every_cloud_takes(run_id: str) -> None:
    name = cluster_name(run_id)
    assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name)
    assert len(name) <= 29
    assert name == cluster_name(run_id)
    assert name != cluster_name(run_id[:-1] + "9")


@pytest.mark.parametrize("run_id", ["", "A", "a b", "a;b", "-a", "a-", "a" * 64, "a\n"])
def test_bad_run_ids_are_refused(run_id: str) -> None:
    with pytest.raises(EngineError, match="cannot name a cluster"):
        cluster_name(run_id)


@pytest.mark.parametrize("path", ["/a'b", '/a"b', "/a$b", "/a`b", "/a\\b", "/a\nb"])
def test_folders_that_skypilot_would_tear_are_refused(path: str) -> None:
    with pytest.raises(EngineError, match="cannot copy"):
        render_task(request(Path("/r")), upload_dir=Path(path))


@pytest.mark.parametrize("name", ["setup.sh", "run.sh", "stop.sh", "deadman.sh"])
def test_scripts_are_bash(name: str) -> None:
    assert subprocess.run(["bash", "-n"], input=script(name), text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("max_duration_s", "setup_s", "run_s"), [(None, "1800", None), (7200.0, "1800", "7500"), (600.5, "601", "901")]
)
def test_set_up_and_run_have_a_limit_each(max_duration_s: float | None, setup_s: str, run_s: str | None) -> None:
    asked = request(Path("/r"), launch_timeout_s=1800.0, max_duration_s=max_duration_s)
    environment = render_task(asked, upload_dir=Path("/r/upload"))["envs"]
    assert environment["TUNEFARE_SETUP_TIMEOUT_S"] == setup_s
    assert environment.get("TUNEFARE_MAX_DURATION_S") == run_s


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [("sleep 30", 124, "not done within 1 s"), ("exit 3", 3, ""), ("exit 0", 0, "")],
)
def test_the_setup_script_ends_a_set_up_that_hangs_and_hands_on_the_status_of_others(
    tmp_path: Path, program: str, status: int, words: str
) -> None:
    (tmp_path / "home of 'mine").mkdir()
    python = tmp_path / "python 3"
    python.write_text(f"#!/bin/bash\n{program}\n")
    python.chmod(0o755)
    environment = {
        "HOME": str(tmp_path / "home of 'mine"),
        "PATH": "/usr/bin:/bin",
        "TUNEFARE_RUN_ID": "demo-1",
        "TUNEFARE_DEADMAN": "off",
        "TUNEFARE_PYTHON": str(python),
        "TUNEFARE_SETUP_TIMEOUT_S": "1" if words else "15",
    }
    command = ["bash", "-c", script("setup.sh")]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, check=False, timeout=20, capture_output=True, text=True
    )
    assert done.returncode == status
    assert words in done.stderr
    assert bool(words) == ("tunefare" in done.stderr)


def test_the_setup_script_stops_at_its_first_error_and_finds_what_it_made(tmp_path: Path) -> None:
    home, programs = tmp_path / "home", tmp_path / "home" / ".local" / "bin"
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "requirements.txt").write_text("torch")
    programs.mkdir(parents=True)
    uv = programs / "uv"
    uv.write_text(
        '#!/bin/bash\necho "$1" >> "$HOME/called"\n[ "$1" != pip ] || [ -e "$HOME/works" ] || exit 9\n'
        'if [ "$1" = venv ]; then mkdir -p "${@: -1}"; fi\n'
    )
    uv.chmod(0o755)
    environment = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "TUNEFARE_RUN_ID": "demo-1",
        "TUNEFARE_DEADMAN": "off",
        "TUNEFARE_SETUP_TIMEOUT_S": "20",
    }

    def set_up() -> int:
        command = ["bash", "-c", script("setup.sh")]
        return subprocess.run(command, env=environment, cwd=tmp_path, check=False, timeout=30).returncode

    assert set_up() == 9
    (home / "works").touch()
    assert [set_up(), set_up()] == [0, 0]
    assert (home / "called").read_text().split() == ["venv", "pip", "venv", "pip"]


def test_the_run_script_hands_on_the_exit_status_and_leaves_a_pid_to_stop_by(tmp_path: Path) -> None:
    home = tmp_path / "home with space"
    work = home / "work"
    work.mkdir(parents=True)
    (work / "job.json").write_text("{}")
    python = home / "python"
    python.write_text('#!/bin/bash\necho "$@" > "$HOME/called"\nexit 3\n')
    python.chmod(0o755)
    environment = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "TUNEFARE_RUN_ID": "demo-1",
        "TUNEFARE_DEADMAN": "off",
        "TUNEFARE_PYTHON": str(python),
    }
    done = subprocess.run(["bash", "-c", script("run.sh")], env=environment, cwd=work, check=False)
    assert done.returncode == 3
    run_dir = home / "tunefare-run" / "demo-1"
    assert (home / "called").read_text() == f"-m tasks.train {run_dir}/job.json --out {run_dir}\n"
    stopped = subprocess.run(
        ["bash", "-c", script("stop.sh")], env=environment, capture_output=True, text=True, check=True
    )
    assert stopped.stdout == "ended\n"


def test_the_stop_script_asks_only_the_process_that_it_means(tmp_path: Path) -> None:
    run_dir = tmp_path / "tunefare-run" / "demo-1"
    run_dir.mkdir(parents=True)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TUNEFARE_RUN_ID": "demo-1"}

    def stop() -> str:
        command = ["bash", "-c", script("stop.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert stop() == "not-started\n"
    with subprocess.Popen(["sleep", "30"]) as process:
        started = Path(f"/proc/{process.pid}/stat").read_text().split()[21]
        (run_dir / "pid").write_text(f"{process.pid} {int(started) + 1}\n")
        assert stop() == "ended\n"
        assert process.poll() is None
        (run_dir / "pid").write_text(f"{process.pid} {started}\n")
        assert stop() == "asked\n"
        assert process.wait(timeout=5) == -15
