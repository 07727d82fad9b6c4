"""The SkyPilot task of a run: built as data from templates/sky, dumped as YAML, usable by hand with `sky launch`.

Owns the order of the offers and where the inputs lie on the machine; what one offer asks for is
`manager.launch.sky_resources`. Nothing that a user typed (model, data, columns) is in the YAML: that travels in
job.json, so no name or path ever reaches a shell. Pure: the folder that goes up is made by `manager.launch.sky_upload`.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from manager.errors import EngineError
from manager.launch.engine import GuardName, LaunchRequest
from manager.launch.guarding import deadman_environment
from manager.launch.sky_resources import resources_of
from manager.prices.offer import Offer
from tasks.job import Job
from tasks.redaction import MASK, NAMES_VARIABLE

MODEL_IN = "model_in"
"""Folder of a local model inside the uploaded folder."""
DATA_IN = "data_in"
"""Folder of local data inside the uploaded folder."""
CLUSTER_PREFIX = "tf-"
"""Of the names of all clusters and managed jobs."""
REMOTE_ROOT = "~/tunefare-run"
"""On the machine: one folder per run id, with events, manifest, model and checkpoints."""
DURATION_MARGIN_S = 300.0
"""The task keeps its longest duration itself and in good order; `timeout` steps in this much later."""
_RUN_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_UNQUOTABLE = re.compile(r"['\"\\$`\x00-\x1f\x7f]")


def cluster_name(run_id: str) -> str:
    """`tf-<run id>`, shortened with a hash when it is long; the same name for the same run for ever.

    Raises:
        EngineError: the run id is not made of a-z, 0-9 and '-'.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise EngineError(f"run id {run_id!r} cannot name a cluster", hint="Use a-z, 0-9 and '-', at most 63 letters.")
    if len(run_id) <= 26:
        return f"{CLUSTER_PREFIX}{run_id}"
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{CLUSTER_PREFIX}{run_id[:17].rstrip('-')}-{digest}"


def remote_dir(run_id: str) -> str:
    """Folder of the run on the machine; `~` is the task's home."""
    return f"{REMOTE_ROOT}/{run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSources:
    """Which inputs of a job lie on this machine and must travel."""

    model: Path | None
    """Folder of the model; None: a hub id."""
    data_file: Path | None
    """File with the samples; None: see data_folder."""
    data_folder: Path | None
    """Folder with the samples; None, with no data_file either: a hub id or a URI."""


def on_machine(job: Job, local: LocalSources) -> Job:
    """The job with its local sources replaced by their places in the uploaded folder, relative to it."""
    if local.model is not None:
        job = replace(job, model=replace(job.model, source=f"./{MODEL_IN}", revision=None))
    if local.data_file is not None:
        place = f"./{DATA_IN}/{data_file_name(local.data_file)}"
        job = replace(job, data=replace(job.data, source=place, revision=None))
    elif local.data_folder is not None:
        job = replace(job, data=replace(job.data, source=f"./{DATA_IN}", revision=None))
    return job


def data_file_name(data: Path) -> str:
    """Name of a local data file on the machine: a fixed stem with the file's type, which the reader goes by."""
    suffix = data.suffix.lower()
    return f"data{suffix}" if re.fullmatch(r"\.[a-z0-9]+", suffix) else "data"


def render_task(
    request: LaunchRequest,
    *,
    upload_dir: Path,
    offers: Sequence[Offer] | None = None,
    billing_started_s: float | None = None,
) -> dict[str, Any]:
    """The task as data, with the values of its secrets: for SkyPilot's worker, never for a file.

    Args:
        request: the launch.
        upload_dir: folder made by `sky_upload.stage_upload`; becomes the task's working directory.
        offers: what to ask for, in this order; None: all offers of the request.
        billing_started_s: Unix time from which the machine is billed; None: when it will be started is not known.

    Raises:
        EngineError: no offers, offers of different numbers of nodes (a task has one number), an offer that SkyPilot
            cannot name, or the folder's name has letters that SkyPilot cannot carry through a shell.
    """
    chosen = tuple(request.offers if offers is None else offers)
    if not chosen:
        raise EngineError("there is no offer to launch on")
    if len({offer.num_nodes for offer in chosen}) > 1:
        raise EngineError("one task cannot ask for offers of different numbers of nodes")
    check_folder(upload_dir)
    task: dict[str, Any] = _base()
    base_resources = task.pop("resources")
    asked = [resources_of(offer, request, base_resources) for offer in chosen]
    return {
        "name": cluster_name(request.run_id),
        "workdir": str(upload_dir),
        **task,
        "num_nodes": chosen[0].num_nodes,
        "resources": asked[0] if len(asked) == 1 else {"ordered": asked},
        "envs": {
            **_environment(request),
            **deadman_environment(request, chosen, billing_started_s=billing_started_s),
        },
        **({"secrets": dict(request.secrets)} if request.secrets else {}),
        "setup": script("setup.sh"),
        "run": script("run.sh"),
    }


def render_yaml(request: LaunchRequest, *, upload_dir: Path, offers: Sequence[Offer] | None = None) -> str:
    """The task as YAML text for `sky launch`; the same data as `render_task`, with a mask for each secret."""
    hidden = replace(request, secrets=dict.fromkeys(request.secrets, MASK))
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(_quoted(render_task(hidden, upload_dir=upload_dir, offers=offers)), out)
    return out.getvalue()


def script(name: str) -> str:
    """Text of a script of templates/sky."""
    return (files("templates") / "sky" / name).read_text(encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Refuse a folder whose name SkyPilot's rsync command line would tear.

    Raises:
        EngineError: a quote, backslash, dollar, backtick or control character is in the path.
    """
    if _UNQUOTABLE.search(str(folder)):
        raise EngineError(
            f"SkyPilot cannot copy from or to {str(folder)!r}",
            hint="Set TUNEFARE_HOME to a folder without quotes, backslashes, '$' and backticks in its path.",
        )


def _base() -> dict[str, Any]:
    base: dict[str, Any] = YAML(typ="safe", pure=True).load(script("task.yaml"))
    return base


def _environment(request: LaunchRequest) -> dict[str, str]:
    # Set-up may last as long as a launch, but never longer than the whole run.
    setup_s = min(request.launch_timeout_s, math.inf if request.max_duration_s is None else request.max_duration_s)
    environment = {"TUNEFARE_RUN_ID": request.run_id, "TUNEFARE_SETUP_TIMEOUT_S": f"{max(math.ceil(setup_s), 1)}"}
    if request.secrets:
        environment[NAMES_VARIABLE] = ",".join(sorted(request.secrets))
    if request.max_duration_s is not None and GuardName.MACHINE in request.guards:
        environment["TUNEFARE_MAX_DURATION_S"] = f"{math.ceil(request.max_duration_s + DURATION_MARGIN_S)}"
    return environment


def _quoted(value: Any) -> Any:
    """Text in quotes, scripts as blocks: a YAML 1.1 reader must not take `on` or `12e3` for anything but text."""
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    if isinstance(value, str):
        return LiteralScalarString(value) if "\n" in value else DoubleQuotedScalarString(value)
    return value
