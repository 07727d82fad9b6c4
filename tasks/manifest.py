"""manifest.json: how a model came about, and the refusal to go on with another job or other data."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.failures import TaskError
from tasks.job import JOB_VERSION, Job, parse_job
from tasks.protocol import MANIFEST_FILE, FailureCode, ProtocolError
from tasks.sources import public_name

MANIFEST_VERSION = 1
_MAY_CHANGE = (
    ("guard",),
    ("probe",),
    ("store",),
    ("run_id",),
    ("device",),
    ("data", "source"),
    ("training", "micro_batch"),
    ("training", "gradient_checkpointing"),
    ("training", "sharding"),
    ("training", "log_every_steps"),
)
"""What a resume on another machine may bring: other caps, another device, another path to the same data, what makes
the step fit there."""


def write_manifest(out: Path, job: Job, *, data_facts: dict[str, Any], versions: dict[str, str], device: str) -> None:
    """Write the manifest at the first start; at a resume check that job and data are those of the run, and keep it.

    Raises:
        TaskError: bad_job or data_invalid, when the folder holds a run of another job or of other data.
    """
    path = out / MANIFEST_FILE
    earlier = read_manifest(out)
    if earlier is not None:
        _check_same(out, earlier, job, data_facts)
        return
    manifest = {
        "schema": MANIFEST_VERSION,
        "run_id": job.run_id,
        "created_s": time.time(),
        "seed": job.training.seed,
        "versions": versions,
        "device": device,
        "data": data_facts,
        "job": asdict(job),
    }
    aside = path.with_suffix(".partial")
    aside.write_text(_text(manifest), encoding="utf-8")
    aside.replace(path)


def public_manifest(out: Path, job: Job) -> str:
    """The manifest's text for publishing: sources by name, without the folders of this machine.

    Raises:
        OSError, ValueError: the run's manifest cannot be read.
    """
    manifest = json.loads((out / MANIFEST_FILE).read_text(encoding="utf-8"))
    # The data's checksum is the same at each start; its path is this start's, and need not be that of the first.
    data = public_name(job.data.source)
    manifest["data"]["source"] = manifest["job"]["data"]["source"] = data
    manifest["job"]["model"]["source"] = public_name(job.model.source)
    return _text(manifest)


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a run folder; None when the run has not come so far, or the file is damaged."""
    try:
        manifest = json.loads((out / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _check_same(out: Path, earlier: dict[str, Any], job: Job, data_facts: dict[str, Any]) -> None:
    before, now = _fixed(_completed(earlier["job"])), _fixed(asdict(job))
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{str(out)!r} holds a run of another job; different: {', '.join(changed)}.",
            hint="Start it in a new folder.",
        )
    if earlier["data"]["sha256"] != data_facts["sha256"]:
        raise TaskError(
            FailureCode.DATA_INVALID,
            "The data set has changed since this run began.",
            hint="Start a new run, or put the old data back.",
        )


def _completed(job: dict[str, Any]) -> dict[str, Any]:
    """The job of an earlier program with what it did not know yet at the default; a later program's as it is."""
    try:
        return asdict(parse_job(json.dumps({"schema": JOB_VERSION, **job})))
    except ProtocolError:
        return job


def _fixed(job: dict[str, Any]) -> dict[str, Any]:
    """The job as flat names and values, without what may change."""
    flat: dict[str, Any] = {}
    for name, value in job.items():
        if (name,) in _MAY_CHANGE:
            continue
        if not isinstance(value, dict):
            flat[name] = value
            continue
        flat.update({f"{name}.{key}": part for key, part in value.items() if (name, key) not in _MAY_CHANGE})
    return flat
