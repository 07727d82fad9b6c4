"""What leaves a cloud besides the results' way home: data out of their bucket, checkpoints and model into one. Pure.

Into a cloud nobody bills traffic; out of one it is the cloud's price to the internet, and between a bucket and a
machine of the same cloud a price that depends on their regions, of which the bucket's is not known without asking it:
then an interval from nothing (the same region) to the dearest pair. On spot there are more checkpoints than are counted
here.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.planner.assumptions import Assumptions
from manager.planner.shape import LOCAL
from manager.planner.storage import BUCKET_OUT, DATA_OUT, Extra
from manager.units import GIB, Interval
from manager.workload.profile import WorkloadProfile

_CLOUDS = {"s3": "aws", "gs": "gcp"}
"""Scheme of a bucket -> whose it is."""
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """In whose buckets a run has its things."""

    data: str | None = None
    """Cloud from whose bucket machines fetch the data; None: from here, or from a hub."""
    data_is_here: bool = False
    """The data are files of this machine and only staged in the bucket: a run here reads them as they are."""
    bucket: str | None = None
    """Cloud of the run's own bucket, for machines elsewhere; None: there is none."""
    model_stays: bool = False
    """The tuned model stays in the bucket: nothing to speak of goes home."""


NOWHERE = Places()


def cloud_of_bucket(uri: str | None) -> str | None:
    """Of s3:// and gs:// URIs; None: it is no bucket of a cloud."""
    return None if uri is None else _CLOUDS.get(uri.partition("://")[0])


def traffic_extras(
    assumptions: Assumptions, places: Places, profile: WorkloadProfile, *, cloud: str, nodes: int = 1
) -> tuple[Extra, ...]:
    """What a run on so many machines of a cloud moves out of clouds, by way of buckets."""
    found: list[Extra] = []
    if places.data is not None and not (places.data_is_here and cloud == LOCAL):
        moved = profile.data.bytes * nodes
        found.append(_extra(DATA_OUT, assumptions, source=places.data, target=cloud, moved_bytes=moved))
    if places.bucket is not None and cloud != LOCAL:
        moved = profile.checkpoints * profile.checkpoint_bytes + profile.export_file_bytes
        found.append(_extra(BUCKET_OUT, assumptions, source=cloud, target=places.bucket, moved_bytes=moved))
    return tuple(found)


def _extra(name: str, assumptions: Assumptions, *, source: str, target: str, moved_bytes: float) -> Extra:
    row = "region_egress_price" if source == target else "egress_price"
    gib = round(moved_bytes / GIB, _DIGITS)
    quantity = Interval(low=gib, expected=gib, high=gib)
    return Extra(name=name, quantity=quantity, unit="GiB", price=assumptions.of(row, source))
