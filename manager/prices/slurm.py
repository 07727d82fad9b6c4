"""Slurm pools priced in SkyPilot's configuration, as offers.

SkyPilot reads prices at three levels, `slurm.pricing`, then the cluster's, then the partition's. The configuration does
not say which partition has which accelerators, so an accelerator is offered where a partition names it; one that is
priced further out is offered on the cluster as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manager.prices.offer import Offer
from manager.prices.sky_config import PoolReading, Prices, SkyConfig, by_name, canonical, pool_offers, unknown_names

SLURM = "slurm"


def slurm_pools(config: SkyConfig) -> PoolReading:
    """Offers of all clusters and partitions with a price.

    The cluster is the offer's region, the partition its instance type and only zone: `infra: slurm/<region>/<zone>`.
    Where the price belongs to a whole cluster, instance type and zones are empty.

    Raises:
        PriceError: a price is not a number of dollars, or the section is not one of mappings.
    """
    slurm = config.section(SLURM)
    clusters = config.section(SLURM, "cluster_configs")
    outer = config.prices(slurm, SLURM)
    offers: list[Offer] = []
    for name, settings in clusters.items():
        cluster = config.mapping(settings, f"slurm.cluster_configs.{name}")
        offers.extend(_cluster_offers(str(name), cluster, outer, config))
    notes = []
    if outer and not clusters:
        notes.append(f"{config.path} prices Slurm but names no cluster (slurm.cluster_configs); none was offered")
    if unknown := unknown_names(tuple(offers)):
        notes.append(f"Slurm: no specification of {', '.join(unknown)}; such offers cannot be estimated")
    return PoolReading(offers=tuple(offers), notes=tuple(notes))


def _cluster_offers(cluster: str, settings: Mapping[str, Any], outer: Prices, config: SkyConfig) -> Iterator[Offer]:
    place = f"slurm.cluster_configs.{cluster}"
    inner = config.prices(settings, place)
    source = f"Slurm cluster {cluster}"
    partitions = config.mapping(settings.get("partition_configs"), f"{place}.partition_configs")
    named: set[str] = set()
    for name, own in partitions.items():
        at = f"{place}.partition_configs.{name}"
        prices = config.prices(config.mapping(own, at), at)
        here = {canonical(one) for one in prices}
        named |= here
        laid = {one: price for one, price in by_name(outer, inner, prices).items() if one in here}
        yield from pool_offers(config, laid, cloud=SLURM, region=cluster, partition=str(name), source=source)
    rest = {one: price for one, price in by_name(outer, inner).items() if one not in named}
    yield from pool_offers(config, rest, cloud=SLURM, region=cluster, partition=None, source=source)
