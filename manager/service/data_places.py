"""In whose buckets a job has data and results, for the planner, and in words for people."""

from __future__ import annotations

from pathlib import Path

from manager.planner.traffic import Places, cloud_of_bucket
from manager.service.context import Context
from manager.spec.model import KEEP_BUCKET, RunSpec
from manager.units import format_bytes


def places_of(context: Context, spec: RunSpec) -> Places:
    """Of the run file, and for its bucket else of the setting."""
    bucket = cloud_of_bucket(_bucket(context, spec))
    own, stays = cloud_of_bucket(spec.data.source), bucket is not None and spec.storage.keep == KEEP_BUCKET
    if own is not None:
        return Places(data=own, bucket=bucket, model_stays=stays)
    is_here = Path(spec.data.source).expanduser().exists()
    return Places(data=bucket if is_here else None, data_is_here=is_here, bucket=bucket, model_stays=stays)


def traffic_notes(context: Context, spec: RunSpec, *, data_bytes: int) -> tuple[str, ...]:
    """How much goes up, and is fetched from where; what it costs stands in each offer's bill."""
    size, bucket, source = format_bytes(data_bytes), _bucket(context, spec), spec.data.source
    if cloud_of_bucket(source) is not None:
        return (f"each machine fetches {size} of data from {source}; traffic out of its cloud is in the bill",)
    if bucket is not None and Path(source).expanduser().exists():
        return (
            f"{size} of data go to {bucket} once, where each machine elsewhere fetches them; "
            "what is there already is not sent again",
        )
    return ()


def _bucket(context: Context, spec: RunSpec) -> str | None:
    return spec.storage.bucket or context.config.text("bucket") or None
