"""Where a run's results lie when it is over: what is here, what its bucket has, and what that costs a month."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.launch.bucket_folders import find_folders
from manager.launch.engine import LOG_FILE
from manager.launch.from_store import store_uri
from manager.launch.inventory import RentedKind
from manager.service.context import Context
from manager.service.inspection import find_run
from manager.units import format_bytes, format_usd
from tasks.protocol import ADAPTER_DIR, CHECKPOINTS_DIR, EVENTS_FILE, MANIFEST_FILE, MODEL_DIR

ARTIFACTS_JSON_VERSION = 1
_ASK_S = 20.0
_HERE = {
    "tuned model": MODEL_DIR,
    "adapter": f"{MODEL_DIR}/{ADAPTER_DIR}",
    "checkpoints": CHECKPOINTS_DIR,
    "events and metrics": EVENTS_FILE,
    "manifest": MANIFEST_FILE,
    "log": LOG_FILE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One result on this machine."""

    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InBucket:
    """The run's folder in its bucket."""

    uri: str
    size_bytes: int | None
    """None: the bucket did not say."""
    usd_per_month: Decimal | None
    """While it stays; None: unknown."""
    reason: str | None
    """Why nothing is known; None: it is."""
    is_billed: bool
    """Whether a provider bills it: a shared folder costs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """All of a run's."""

    run_id: str
    folder: Path
    here: tuple[Artifact, ...]
    bucket: InBucket | None
    """None: the run keeps nothing in one."""


def artifacts_of(context: Context, run: str) -> Artifacts:
    """Look at the run's folder and ask its bucket, for a limited time.

    Raises:
        UsageError: no such run.
        StateError: the ledger cannot be used.
    """
    record = find_run(context, run)
    folder = record.run_dir
    here = [
        Artifact(name=name, path=folder / place, size_bytes=_size_of(folder / place))
        for name, place in _HERE.items()
        if (folder / place).exists()
    ]
    uri = store_uri(folder)
    bucket = None if uri is None else _in_bucket(uri, record.run_id)
    return Artifacts(run_id=record.run_id, folder=folder, here=tuple(here), bucket=bucket)


def artifact_lines(found: Artifacts) -> list[str]:
    """For people: where things lie, what they cost, what to type."""
    lines = [f"results in {found.folder}: " + (_listed(found.here) or "nothing came home")]
    bucket = found.bucket
    if bucket is None:
        return lines
    if not bucket.is_billed:
        return [*lines, f"kept in {bucket.uri} too"]
    if bucket.reason is not None:
        lines.append(f"kept in {bucket.uri}, size and price unknown: {bucket.reason}")
    elif not bucket.size_bytes:
        return [*lines, f"nothing is kept in {bucket.uri}"]
    else:
        price = "at an unknown price" if bucket.usd_per_month is None else f"{_price(bucket.usd_per_month)} a month"
        lines.append(f"kept in {bucket.uri}: {format_bytes(bucket.size_bytes)}, {price} until it is removed")
    has_model = any(one.path.name == MODEL_DIR for one in found.here)
    fetch = [] if has_model else [f"bring it home: tunefare fetch {found.run_id}"]
    return [*lines, *fetch, f"remove it: tunefare leftovers --remove {shlex.quote(bucket.uri)}"]


def artifacts_to_json(found: Artifacts) -> dict[str, Any]:
    """As one JSON object, schema 1; null where unknown."""
    bucket = found.bucket
    return {
        "schema": ARTIFACTS_JSON_VERSION,
        "type": "artifacts",
        "run_id": found.run_id,
        "folder": str(found.folder),
        "here": [{"name": one.name, "path": str(one.path), "size_bytes": one.size_bytes} for one in found.here],
        "bucket": None
        if bucket is None
        else {
            "uri": bucket.uri,
            "size_bytes": bucket.size_bytes,
            "usd_per_month": None if bucket.usd_per_month is None else float(bucket.usd_per_month),
            "reason": bucket.reason,
            "is_billed": bucket.is_billed,
        },
    }


def _in_bucket(uri: str, run_id: str) -> InBucket:
    if uri.startswith("file://"):
        return InBucket(uri=uri, size_bytes=None, usd_per_month=None, reason=None, is_billed=False)
    parent = uri.rpartition("/")[0]
    found = find_folders([parent], [run_id], limit_s=_ASK_S)
    if reason := found.silent.get(parent):
        return InBucket(uri=uri, size_bytes=None, usd_per_month=None, reason=reason, is_billed=True)
    mine = [item for item in found.items if item.kind is RentedKind.FOLDER and item.run_id == run_id]
    if not mine:
        return InBucket(uri=uri, size_bytes=0, usd_per_month=Decimal(0), reason=None, is_billed=True)
    (item,) = mine
    size = None if item.size_gib is None else int(item.size_gib * 2**30)
    return InBucket(uri=uri, size_bytes=size, usd_per_month=item.usd_per_month, reason=None, is_billed=True)


def _price(usd: Decimal) -> str:
    return "less than $0.01" if 0 < usd < Decimal("0.01") else format_usd(usd)


def _listed(here: tuple[Artifact, ...]) -> str:
    return ", ".join(f"{one.name} {format_bytes(one.size_bytes)}" for one in here)


def _size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
