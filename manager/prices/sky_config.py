"""SkyPilot's configuration as far as it prices the user's own pools (Slurm, Kubernetes).

Owns the file, the check of what is a price, and how levels are laid over each other: a nearer level wins key by key,
and of two spellings of one accelerator the one that was named first holds, as in SkyPilot 0.14
(`merge_pricing_dicts`, `get_hourly_cost_from_pricing`). A machine with accelerators costs accelerators x price, all
in: `cpu` and `memory` prices hold only for jobs without one, so such machines have no price of their own and are not
offered.
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

ACCELERATOR_COUNTS = (1, 2, 4, 8)
"""Offered of each accelerator of a pool; whether a node has as many, the pool says at launch."""
Prices = dict[str, Decimal]
"""Accelerator -> dollars per hour of one, as a level spells and states them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyConfig:
    """The configuration of one user."""

    path: Path
    document: Mapping[str, Any]
    """Empty when there is no file."""
    age_s: float | None
    """Seconds since it was written; None when there is none, or that lies in the future."""

    def section(self, *keys: str) -> Mapping[str, Any]:
        """What stands under these keys; empty when nothing does.

        Raises:
            PriceError: something else than a mapping stands there.
        """
        found: Mapping[str, Any] = self.document
        for depth, key in enumerate(keys):
            found = self.mapping(found.get(key), ".".join(keys[: depth + 1]))
        return found

    def mapping(self, value: object, what: str) -> Mapping[str, Any]:
        """The value as a mapping; nothing is an empty one.

        Raises:
            PriceError: it is something else.
        """
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise PriceError(
                f"SkyPilot's config {self.path}: {what} is {value!r}", hint="a mapping (key: value) belongs there"
            )
        return value

    def prices(self, level: Mapping[str, Any], place: str) -> Prices:
        """The prices of accelerators that one level states under `pricing`.

        Raises:
            PriceError: one is not a number of dollars.
        """
        at = f"{place}.pricing"
        pricing = self.mapping(level.get("pricing"), at)
        accelerators = self.mapping(pricing.get("accelerators"), f"{at}.accelerators")
        return {str(name): self._price(price, f"{at}.accelerators.{name}") for name, price in accelerators.items()}

    def _price(self, value: object, what: str) -> Decimal:
        try:
            price = Decimal(str(value))
        except InvalidOperation:
            price = Decimal("NaN")
        if isinstance(value, bool) or not price.is_finite() or price < 0:
            raise PriceError(
                f"SkyPilot's config {self.path}: {what} is {value!r}", hint="a number of dollars per hour belongs there"
            )
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReading:
    """Priced pools of one kind."""

    offers: tuple[Offer, ...]
    notes: tuple[str, ...]


def sky_config_path(home: Path) -> Path:
    """SkyPilot's configuration below the user's home folder."""
    return home / ".sky" / "config.yaml"


def load_sky_config(path: Path, *, now_s: float) -> SkyConfig:
    """Read SkyPilot's config.yaml; a missing file is an empty configuration.

    Args:
        path: the file.
        now_s: Unix time in seconds, for the age of the prices.

    Raises:
        PriceError: it cannot be read, or is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        age_s = now_s - path.stat().st_mtime
    except FileNotFoundError:
        return SkyConfig(path=path, document={}, age_s=None)
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError(f"SkyPilot's config {path} cannot be read: {error}", hint="check the file") from error
    config = SkyConfig(path=path, document={}, age_s=age_s if age_s >= 0 else None)
    return SkyConfig(path=path, document=config.mapping(_yaml(text, path), "the file"), age_s=config.age_s)


def by_name(*levels: Prices) -> Prices:
    """The price of each accelerator by our table's spelling, of levels from the outermost to the nearest."""
    laid: Prices = {}
    for level in levels:
        laid.update(level)
    found: Prices = {}
    for name, price in laid.items():
        found.setdefault(canonical(name), price)
    return found


def canonical(name: str) -> str:
    """Our table's spelling of a name in other case, as SkyPilot compares them; any other name as it is."""
    known = accelerator(name)
    return known.name if known is not None and known.name.casefold() == name.casefold() else name


def pool_offers(
    config: SkyConfig, prices: Prices, *, cloud: str, region: str | None, partition: str | None, source: str
) -> Iterator[Offer]:
    """Offers of a pool's accelerators, in the numbers that nodes have."""
    for name, per_accelerator in prices.items():
        known = accelerator(name)
        for count in ACCELERATOR_COUNTS:
            yield Offer(
                cloud=cloud,
                region=region,
                zones=(partition,) if partition else (),
                instance_type=partition,
                accelerator=name,
                accelerator_count=float(count),
                accelerator_memory_bytes=None if known is None else known.memory_bytes,
                vcpus=None,
                host_memory_bytes=None,
                use_spot=False,
                price_usd_per_hour=per_accelerator * count if per_accelerator > 0 else None,
                price_source=f"SkyPilot config {config.path.name}, {source}",
                price_age_s=config.age_s,
                flags=() if per_accelerator > 0 else ("zero_price",),
            )


def unknown_names(offers: tuple[Offer, ...]) -> list[str]:
    """Accelerators of pools that our table does not know."""
    return sorted({one.accelerator for one in offers if one.accelerator and not accelerator(one.accelerator)})


def _yaml(text: str, path: Path) -> object:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PriceError(f"SkyPilot's config {path} is no YAML: {error}", hint="`sky check` shows it too") from error
