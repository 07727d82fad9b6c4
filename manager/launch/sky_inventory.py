"""SkyPilot's own tables of this user: clusters under a run's tag, refreshed from the providers, and managed jobs.

Owns what is known of clouds that are not asked directly. A SkyPilot that does not answer is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from manager.launch.inventory import Found, Rented, RentedKind
from manager.launch.render import CLUSTER_PREFIX
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from manager.units import HOURS_PER_MONTH, usd

SKYPILOT = "skypilot"
"""Name of the place where it is told as silent."""
MANAGED_JOB = "managed job"
"""What an item is called that is no machine but rents them."""
_REFRESH_TIMEOUT_S = 90.0
"""An API server that does not run is started first."""


def find_clusters(*, worker: Callable[[], SkyWorker] = SkyWorker, timeout_s: float = _REFRESH_TIMEOUT_S) -> Found:
    """Clusters under the tag, as the providers say to SkyPilot; never raises.

    Args:
        worker: makes the process that is asked.
        timeout_s: for the whole question.
    """
    asked = worker()
    try:
        answer = asked.call("clusters", {}, timeout_s=timeout_s)
        jobs = asked.call("managed_jobs", {"prefix": CLUSTER_PREFIX}, timeout_s=timeout_s).get("jobs", [])
    except SkyPilotError as error:
        return Found(silent={SKYPILOT: error.message})
    finally:
        asked.close()
    return Found(items=(*map(_rented, answer["clusters"]), *map(_managed, jobs)))


def _managed(record: Mapping[str, Any]) -> Rented:
    """A managed job that has not ended: while it is there it rents machines anew, whatever is ended of them. One that
    has had no machine yet has no tag, and its name may be shortened: whose it is only a list of runs can say."""
    return Rented(
        kind=RentedKind.CLUSTER,
        cloud=SKYPILOT,
        region=None,
        id=record["name"],
        name=MANAGED_JOB,
        state=str(record["status"]),
        run_id=record["run_id"] or None,
        created_at_s=record["submitted_at_s"],
        usd_per_month=None,
        remove_command=f"sky jobs cancel -n {record['name']}",
    )


def _rented(record: Mapping[str, Any]) -> Rented:
    state, price = str(record["status"]), record["price_usd_per_hour"]
    # 0 is what SkyPilot says of a machine without a catalog price: unknown, not free.
    per_month: Decimal | None = usd(price) * HOURS_PER_MONTH if price and state == "UP" else None
    return Rented(
        kind=RentedKind.CLUSTER,
        cloud=record["cloud"],
        region=record["region"],
        id=record["name"],
        name=f"{record['nodes']}x {record['instance_type'] or 'machine'}",
        state=state,
        run_id=record["run_id"] or None,
        created_at_s=record["launched_at_s"],
        usd_per_month=per_month,
        remove_command=f"sky down {record['name']}",
    )
