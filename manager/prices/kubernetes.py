"""Kubernetes pools priced in SkyPilot's configuration, as offers per context.

SkyPilot reads `kubernetes.pricing`, then the context's own (`kubernetes.context_configs.<context>.pricing`). It rents
in the contexts of `allowed_contexts` only; without that key, in the current context of the kubeconfig. Which
accelerators a context has, the configuration does not say: what is priced for it is offered.
"""

from __future__ import annotations

import re
from pathlib import Path

from manager.prices.offer import Offer
from manager.prices.sky_config import PoolReading, Prices, SkyConfig, by_name, pool_offers, unknown_names

KUBERNETES = "kubernetes"
_CURRENT_CONTEXT = re.compile(r"^current-context:[ \t]*([\"']?)(?P<name>[^\"'\r\n]+?)\1[ \t]*\r?$", re.MULTILINE)


def kubernetes_pools(config: SkyConfig, *, current_context: str | None) -> PoolReading:
    """Offers of all contexts with a price; the context is the offer's region.

    Where prices stand for Kubernetes as a whole and no context is known, the region is None: SkyPilot takes the one
    that it is allowed.

    Args:
        config: SkyPilot's configuration.
        current_context: of the kubeconfig; None: not known.

    Raises:
        PriceError: a price is not a number of dollars, or the section is not one of mappings.
    """
    section = config.section(KUBERNETES)
    contexts = config.section(KUBERNETES, "context_configs")
    outer = config.prices(section, KUBERNETES)
    own: dict[str, Prices] = {}
    for name, settings in contexts.items():
        place = f"{KUBERNETES}.context_configs.{name}"
        own[str(name)] = config.prices(config.mapping(settings, place), place)
    named = [name for name, prices in own.items() if prices or outer]
    usable = _contexts(section.get("allowed_contexts"), current_context, named)
    offers: list[Offer] = []
    for context in usable:
        prices = by_name(outer, own.get(context or "", {}))
        source = "Kubernetes" if context is None else f"Kubernetes context {context}"
        offers.extend(pool_offers(config, prices, cloud=KUBERNETES, region=context, partition=None, source=source))
    return PoolReading(offers=tuple(offers), notes=tuple(_notes(offers, own, usable)))


def current_context(home: Path) -> str | None:
    """The current context of the user's kubeconfig; None when it names none or cannot be read."""
    try:
        text = (home / ".kube" / "config").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    match = _CURRENT_CONTEXT.search(text)
    return match["name"] if match else None


def _contexts(allowed: object, current: str | None, named: list[str]) -> list[str | None]:
    """Contexts in which SkyPilot may rent, as far as they are known."""
    if isinstance(allowed, list):
        return [str(name) for name in allowed]
    if allowed is None and current is not None:
        return [current]
    return [*named] or [None]


def _notes(offers: list[Offer], own: dict[str, Prices], usable: list[str | None]) -> list[str]:
    notes = []
    barred = sorted(name for name, prices in own.items() if prices and name not in usable)
    if barred:
        notes.append(
            f"Kubernetes: {', '.join(barred)} left out: priced, but not in kubernetes.allowed_contexts of SkyPilot's "
            "config and not the current context"
        )
    if unknown := unknown_names(tuple(offers)):
        notes.append(f"Kubernetes: no specification of {', '.join(unknown)}; such offers cannot be estimated")
    return notes
