"""Slurm pools priced in SkyPilot's configuration, as offers.

SkyPilot reads prices at three levels, `slurm.pricing`, then the cluster's, then the partition's; a nearer level wins
key by key. A machine with accelerators costs accelerators x price, all in: `cpu` and `memory` prices hold only for jobs
without one. The configuration does not say which partition has which accelerators, so an accelerator is offered where
a partition names it; one that is priced further out is offered on the cluster as a whole.
Machines of a pool without an accelerator are not offered: their price depends on the CPUs that a job asks for.
Kubernetes pools, which the same file can price, are not read yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from manager.catalog.accelerators import accelerator
from manager.errors import PriceError
from manager.prices.offer import Offer

SLURM = "slurm"
ACCELERATOR_COUNTS = (1, 2, 4, 8)
"""Offered of each accelerator; whether a node has as many, Slurm says at launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmReading:
    """Priced Slurm pools."""

    offers: tuple[Offer, ...]
    notes: tuple[str, ...]


def sky_config_path(home: Path) -> Path:
    """SkyPilot's configuration below the user's home folder."""
    return home / ".sky" / "config.yaml"


def read_slurm_offers(config: Path, *, now_s: float) -> SlurmReading:
    """Offers of all clusters and partitions with a price; none when the file is missing.

    The cluster is the offer's region, the partition its instance type and only zone: `infra: slurm/<region>/<zone>`.
    Where the price belongs to a whole cluster, instance type and zones are empty.

    Args:
        config: SkyPilot's config.yaml.
        now_s: Unix time in seconds, for the age of the prices.

    Raises:
        PriceError: the file cannot be read, or a price is not a number of dollars.
    """
    slurm = _slurm_section(config)
    clusters = _mapping(slurm.get("cluster_configs"), config, "slurm.cluster_configs")
    cloud_level = _pricing(slurm, config, "slurm")
    age_s = _age_s(config, now_s)
    offers: list[Offer] = []
    for name, settings in clusters.items():
        cluster = _mapping(settings, config, f"slurm.cluster_configs.{name}")
        offers.extend(_cluster_offers(str(name), cluster, cloud_level, config, age_s))
    notes = []
    if cloud_level and not clusters:
        notes.append(f"{config} prices Slurm but names no cluster (slurm.cluster_configs); no Slurm offer was made")
    unknown = sorted(
        {offer.accelerator for offer in offers if offer.accelerator and not accelerator(offer.accelerator)}
    )
    if unknown:
        notes.append(f"Slurm: no specification of {', '.join(unknown)}; such offers cannot be estimated")
    return SlurmReading(offers=tuple(offers), notes=tuple(notes))


def _cluster_offers(
    cluster: str, settings: Mapping[str, Any], outer: Mapping[str, Decimal], config: Path, age_s: float | None
) -> Iterator[Offer]:
    place = f"slurm.cluster_configs.{cluster}"
    priced = {**outer, **_pricing(settings, config, place)}
    partitions = _mapping(settings.get("partition_configs"), config, f"{place}.partition_configs")
    named: set[str] = set()
    for name, own in partitions.items():
        at = f"{place}.partition_configs.{name}"
        prices = _pricing(_mapping(own, config, at), config, at)
        named.update(prices)
        yield from _offers(cluster, str(name), prices, config, age_s)
    yield from _offers(cluster, None, {key: value for key, value in priced.items() if key not in named}, config, age_s)


def _offers(
    cluster: str, partition: str | None, prices: Mapping[str, Decimal], config: Path, age_s: float | None
) -> Iterator[Offer]:
    for name, per_accelerator in prices.items():
        known = accelerator(name)
        for count in ACCELERATOR_COUNTS:
            yield Offer(
                cloud=SLURM,
                region=cluster,
                zones=(partition,) if partition else (),
                instance_type=partition,
                accelerator=name,
                accelerator_count=float(count),
                accelerator_memory_bytes=None if known is None else known.memory_bytes,
                vcpus=None,
                host_memory_bytes=None,
                use_spot=False,
                price_usd_per_hour=per_accelerator * count if per_accelerator > 0 else None,
                price_source=f"SkyPilot config {config.name}, Slurm cluster {cluster}",
                price_age_s=age_s,
                flags=() if per_accelerator > 0 else ("zero_price",),
            )


def _slurm_section(config: Path) -> Mapping[str, Any]:
    try:
        text = config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError(f"SkyPilot's config {config} cannot be read: {error}", hint="check the file") from error
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PriceError(f"SkyPilot's config {config} is no YAML: {error}", hint="`sky check` shows it too") from error
    top = _mapping(document, config, "the file")
    return _mapping(top.get(SLURM), config, SLURM)


def _mapping(value: object, config: Path, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise PriceError(
            f"SkyPilot's config {config}: {what} is {value!r}", hint="a mapping (key: value) belongs there"
        )
    return value


def _pricing(level: Mapping[str, Any], config: Path, place: str) -> dict[str, Decimal]:
    """Accelerator -> dollars per hour of one, as this level states them."""
    at = f"{place}.pricing"
    pricing = _mapping(level.get("pricing"), config, at)
    accelerators = _mapping(pricing.get("accelerators"), config, f"{at}.accelerators")
    return {
        _canonical(str(name)): _price(price, config, f"{at}.accelerators.{name}")
        for name, price in accelerators.items()
    }


def _canonical(name: str) -> str:
    """The catalog's spelling of a name in other case, as SkyPilot compares them; any other name as it is."""
    known = accelerator(name)
    return known.name if known is not None and known.name.casefold() == name.casefold() else name


def _price(value: object, config: Path, what: str) -> Decimal:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("NaN")
    if isinstance(value, bool) or not price.is_finite() or price < 0:
        raise PriceError(
            f"SkyPilot's config {config}: {what} is {value!r}", hint="a number of dollars per hour belongs there"
        )
    return price


def _age_s(config: Path, now_s: float) -> float | None:
    """Seconds since the config was written; None when it is missing or that lies in the future."""
    try:
        age = now_s - config.stat().st_mtime
    except FileNotFoundError:
        return None
    return age if age >= 0 else None
