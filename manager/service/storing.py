"""Where a run is kept besides its machine: the run file's bucket, else the setting's, with a folder for the run."""

from __future__ import annotations

from manager.errors import UsageError
from manager.service.context import Context
from manager.spec.model import KEEP_BUCKET, RunSpec
from tasks.job import StoreChoice

_SHARED_DISKS = frozenset({"local", "slurm", "kubernetes"})
"""Where a folder can be one for several machines."""


def store_of(context: Context, spec: RunSpec, run_id: str, *, cloud: str) -> StoreChoice | None:
    """The store of a run; None: its machine's disk alone.

    A run on this machine uses the run file's bucket only: its disk outlives it, and the setting is for those whose does
    not.

    Raises:
        UsageError: a folder is named that a rented machine does not have.
    """
    bucket = spec.storage.bucket
    if bucket is None and cloud != "local":
        bucket = context.config.text("bucket") or None
    if bucket is None and spec.storage.keep == KEEP_BUCKET and cloud != "local":
        raise UsageError("storage.keep: bucket, and there is no bucket", hint="name one: storage.bucket: s3://bucket/x")
    if bucket is None:
        return None
    if bucket.startswith("file://") and cloud not in _SHARED_DISKS:
        raise UsageError(
            f"a machine of {cloud} does not have the folder {bucket}",
            hint="storage.bucket: s3://bucket/prefix or gs://bucket/prefix",
        )
    return StoreChoice(uri=f"{bucket.rstrip('/')}/{run_id}", keep=spec.storage.keep)
