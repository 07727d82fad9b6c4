"""Folders that runs keep in a bucket of the user's: which there are, what they hold, how one is removed.

A folder is a run's by its name, which is the run's id; `data/<sha256>` is a staged data set, of no run; what else lies
in the bucket is not looked at. Sizes are those of the objects' newest versions, and the price is the standard class's:
classes and older versions are not asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from manager.errors import EngineError
from manager.launch.inventory import Found, Rented, RentedKind
from manager.prices.ask_in_time import ask_in_time
from manager.prices.storage_prices import usd_per_month
from manager.units import GIB
from tasks.stores.datasets import DATA_PREFIX
from tasks.stores.errors import StoreError
from tasks.stores.opening import open_store

_STAGED = re.compile(rf"{DATA_PREFIX}/[0-9a-f]{{64}}/")
_CLOUDS = {"s3": ("aws", "s3-standard"), "gs": ("gcp", "gcs-standard")}
"""Scheme of a bucket -> cloud, and what its standard class is called in the table of prices."""


def find_folders(uris: Iterable[str], run_ids: Collection[str], *, limit_s: float = 60.0) -> Found:
    """Folders of these runs, and staged data, in these buckets (`s3://bucket[/prefix]`, `gs://...`); one without an
    answer is silent.

    Args:
        uris: where runs have their folders; others than of buckets cost nothing and are left out.
        run_ids: names that a folder may have.
        limit_s: for all of them together.
    """
    jobs = {
        uri.rstrip("/"): partial(_folders_in, uri.rstrip("/"), run_ids)
        for uri in dict.fromkeys(uris)
        if uri.partition("://")[0] in _CLOUDS
    }
    answers = ask_in_time(jobs, limit_s=limit_s, explain=_explain)
    return Found(
        items=tuple(item for answer in answers.values() for item in answer.value or ()),
        silent={uri: answer.reason for uri, answer in answers.items() if answer.reason},
    )


def remove_folder(item: Rented, *, limit_s: float = 300.0) -> None:
    """Delete what a folder holds, unfinished uploads too.

    Raises:
        EngineError: the bucket refused or did not answer in time; some of it may be gone.
    """

    def remove() -> None:
        store = open_store(item.id)
        store.abandon_uploads()
        store.delete([entry.key for entry in store.list()])

    reason = ask_in_time({item.id: remove}, limit_s=limit_s, explain=_explain)[item.id].reason
    if reason is not None:
        raise EngineError(f"{item.id} was not removed: {reason}", hint=f"type: {item.remove_command}")


def _folders_in(uri: str, run_ids: Collection[str]) -> list[Rented]:
    sizes: dict[str, int] = {}
    counts: dict[str, int] = {}
    for entry in open_store(uri).list():
        staged = _STAGED.match(entry.key)
        name, slash, _ = entry.key.partition("/") if staged is None else (staged[0].rstrip("/"), "/", "")
        if slash and (staged is not None or name in run_ids):
            sizes[name] = sizes.get(name, 0) + entry.size_bytes
            counts[name] = counts.get(name, 0) + 1
    region = _region(uri) if sizes else None
    return [_rented(uri, name, size, counts[name], region) for name, size in sorted(sizes.items())]


def _rented(uri: str, name: str, size_bytes: int, objects: int, region: str | None) -> Rented:
    scheme = uri.partition("://")[0]
    cloud, storage_class = _CLOUDS[scheme]
    gib, folder = Decimal(size_bytes) / GIB, f"{uri}/{name}"
    is_data = _STAGED.match(f"{name}/") is not None
    target = shlex.quote(f"{folder}/")
    command = f"aws s3 rm --recursive {target}" if scheme == "s3" else f"gcloud storage rm --recursive {target}"
    return Rented(
        kind=RentedKind.DATA if is_data else RentedKind.FOLDER,
        cloud=cloud,
        region=region,
        id=folder,
        name=f"{gib:.3g} GiB in {objects} objects",
        state="stored",
        run_id=None if is_data else name,
        created_at_s=None,
        usd_per_month=usd_per_month(cloud, region, storage_class, gib=gib),
        remove_command=command,
        size_gib=gib,
    )


def _region(uri: str) -> str | None:
    """Of a bucket; None where its cloud does not say: then its price is unknown."""
    scheme, _, rest = uri.partition("://")
    bucket = rest.partition("/")[0]
    try:
        return _s3_region(bucket) if scheme == "s3" else _gcs_region(bucket)
    # The border to the clouds' libraries: a region nobody tells is an unknown price, and no more.
    except Exception:
        return None


def _s3_region(bucket: str) -> str | None:
    import boto3  # an extra, and slow to load

    client: Any = boto3.client("s3")
    answer: Mapping[str, Any] = client.get_bucket_location(Bucket=bucket)
    # S3 names its first region by nothing at all.
    return str(answer.get("LocationConstraint") or "us-east-1")


def _gcs_region(bucket: str) -> str | None:
    from google.cloud import storage  # as boto3

    client: Any = storage.Client()
    return str(client.get_bucket(bucket).location).lower()


def _explain(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {str(error)[:200]}"
