"""The market of today as every verb sees it: catalogs, pools and this machine, with the settings of this user."""

from __future__ import annotations

from pathlib import Path

from manager.prices.local import detect_device
from manager.prices.market import Market
from manager.prices.sources import gather_market
from manager.service.context import Context


def read_market(context: Context, catalogs: Path | None = None) -> Market:
    """Everything that can be rented today, with its prices.

    Args:
        context: surroundings.
        catalogs: folder of price catalogs; None: the setting, else SkyPilot's own, else the shipped list prices.

    Raises:
        PriceError: `catalogs` cannot be read.
    """
    return gather_market(
        catalogs=catalogs or context.config.catalogs,
        home=context.user_home,
        now_s=context.clock(),
        good_copies=context.home.prices_dir,
        parsed=context.home.cache_dir / "catalogs",
        local=detect_device(),
        local_price_usd_per_hour=context.config.number("local_price_usd_per_hour"),
        local_price_source=_local_price_source(context),
    )


def _local_price_source(context: Context) -> str:
    value = next(value for value in context.config.values if value.setting.name == "local_price_usd_per_hour")
    if value.origin == "default":
        return f"assumption, setting local_price_usd_per_hour: {value.setting.text}"
    return f"setting local_price_usd_per_hour, from {value.origin}"
