"""One offer as the `resources` of a SkyPilot task: the machine named as exactly as SkyPilot lets a task name it.

Owns infra, instance type, accelerators, disk and the most that an hour may cost. Where SkyPilot's own choice could be
another machine, the choice is taken from it; where naming would forbid what the offer leaves open (a zone of several at
one price), it is left open. Pure.
"""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from importlib.resources import files
from typing import Any

from manager.catalog.clouds import has_autodown, has_rented_disk
from manager.errors import EngineError
from manager.launch.engine import LaunchRequest
from manager.launch.inventory import RUN_TAG
from manager.prices.offer import Offer

PRICE_TOLERANCE = 1.1
"""The most that a node may cost per hour at the launch, as a multiple of the offer's price: catalogs round, and prices
move a little between plan and launch; a machine that costs a tenth more is no longer the one that was chosen.

SkyPilot 0.14 keeps a task's `max_hourly_cost`, but compares it only where it chooses the instance type itself, and not
on GCP. `manager.launch.sky_price_check` compares it before each launch of ours.
"""

_KUBERNETES = "kubernetes"
_SLURM = "slurm"
_NO_INSTANCE_TYPE = frozenset({_SLURM, _KUBERNETES, "ssh"})
"""Clouds where an offer's `instance_type` is not the name of a rentable shape."""
_NO_MAX_COST = _NO_INSTANCE_TYPE
"""SkyPilot compares nothing there: the configuration that the offer's price is read from is its only price."""
_NAMED_ZONES = frozenset({"gcp"})
"""Clouds whose catalog has the zones' names. AWS's has ids, which are other zones in each account."""
_TPU = "tpu-"
_SKYPILOTS_DISK_GIB = 256


def resources_of(offer: Offer, request: LaunchRequest, base: dict[str, Any]) -> dict[str, Any]:
    """The `resources` of one offer.

    Args:
        offer: the machine.
        request: the launch; disk, idle time and the run's id are taken from it.
        base: what every task has.

    Raises:
        EngineError: a cloud, region or zone has a `/` in its name, or there is no known runtime for its TPU.
    """
    resources: dict[str, Any] = {**base, "infra": _infra(offer)}
    _set_disk(resources, offer, request)
    is_tpu = offer.accelerator is not None and offer.accelerator.startswith(_TPU)
    pinned = offer.instance_type is not None and offer.cloud not in _NO_INSTANCE_TYPE
    if pinned:
        resources["instance_type"] = offer.instance_type
    if offer.accelerator is not None:
        resources["accelerators"] = f"{offer.accelerator}:{offer.accelerator_count:g}"
        if is_tpu and offer.cloud == "gcp":
            resources["accelerator_args"] = {"tpu_vm": True, "runtime_version": _tpu_runtime(offer.accelerator)}
    elif not pinned and offer.vcpus is not None:
        resources["cpus"] = f"{math.floor(offer.vcpus)}+"
    if offer.use_spot:
        resources["use_spot"] = True
    if request.image is not None:
        resources["image_id"] = request.image
    if offer.cloud not in _NO_MAX_COST and offer.price_usd_per_hour is not None:
        per_node = float(offer.price_usd_per_hour) / offer.num_nodes
        resources["max_hourly_cost"] = round(per_node * PRICE_TOLERANCE, 4)
    if has_autodown(offer.cloud):
        resources["autostop"] = {"idle_minutes": request.idle_minutes_to_autostop, "down": True}
    resources["labels"] = {RUN_TAG: request.run_id}
    return resources


def asks_alike(one: Offer, other: Offer) -> bool:
    """Whether a launch on one would have taken the other: they differ in what a task does not name, and the other
    costs no more than one may."""
    if _named(one) != _named(other):
        return False
    if one.price_usd_per_hour is None or other.price_usd_per_hour is None:
        return one.price_usd_per_hour is other.price_usd_per_hour
    return float(other.price_usd_per_hour) <= float(one.price_usd_per_hour) * PRICE_TOLERANCE


def _named(offer: Offer) -> tuple[object, ...]:
    zones = offer.zones if offer.cloud in _NAMED_ZONES and len(offer.zones) == 1 else ()
    machine = (offer.instance_type, offer.accelerator, offer.accelerator_count)
    return (offer.cloud, offer.region, zones, *machine, offer.num_nodes, offer.use_spot)


def _set_disk(resources: dict[str, Any], offer: Offer, request: LaunchRequest) -> None:
    gib = request.disks_gib.get(offer.key)
    if not has_rented_disk(offer.cloud):
        # The template's would be a demand on the node's own storage, which many nodes cannot meet.
        resources.pop("disk_size", None)
        # SkyPilot 0.14 takes its own default for a size that was not asked for.
        gib = gib + 1 if gib == _SKYPILOTS_DISK_GIB else gib
    if gib is not None and offer.cloud != _SLURM:
        resources["disk_size"] = gib


def _infra(offer: Offer) -> str:
    parts = ["k8s" if offer.cloud == _KUBERNETES else offer.cloud]
    if offer.region is not None:
        # A context may hold slashes (those of EKS do); SkyPilot reads all after `k8s/` as its name.
        if "/" in offer.region and offer.cloud != _KUBERNETES:
            raise EngineError(f"SkyPilot cannot name the region {offer.region!r} of {offer.cloud}")
        parts.append(offer.region)
        if offer.cloud == _SLURM and offer.instance_type is not None:
            parts.append(offer.instance_type)
        if offer.cloud in _NAMED_ZONES and len(offer.zones) == 1:
            # Other zones of the region have another price, or do not have the machine.
            parts.append(offer.zones[0])
    return "/".join(parts)


def _tpu_runtime(accelerator: str) -> str:
    generation = accelerator.removeprefix(_TPU).partition("-")[0]
    runtime = _tpu_runtimes().get(generation)
    if runtime is None:
        raise EngineError(
            f"no runtime version is known for {accelerator}", hint="Choose a TPU of another generation, or a GPU."
        )
    return runtime


@lru_cache(maxsize=1)
def _tpu_runtimes() -> dict[str, str]:
    """Generation -> runtime version; SkyPilot's default for v5e is that of v5p."""
    text = (files("templates") / "sky" / "tpu_runtimes.csv").read_text(encoding="utf-8")
    return {row["generation"]: row["runtime_version"] for row in csv.DictReader(text.splitlines())}
