"""Spot prices of this minute from AWS, asked at most each quarter of an hour and never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from manager.prices import aws_live
from manager.prices.aws_live import AwsAsker, SpotPrice
from manager.prices.cloud_answers import CloudAnswers, KeptAnswer
from manager.service.cloud_accounts import account_of
from manager.service.context import Context
from manager.units import format_duration

MAX_AGE_S = 900.0
"""An answer that is not older is not asked for again: spot prices move over hours."""
_FILE = "aws-spot.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSpot:
    """The cheapest zone's price now."""

    price: SpotPrice
    age_s: float
    """Seconds since AWS answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReading:
    """What AWS said."""

    prices: Mapping[tuple[str, str], LiveSpot]
    """(region, instance type) -> the cheapest zone."""
    notes: tuple[str, ...]
    """Regions that are unknown, and why."""


def live_spot(
    context: Context, regions: Iterable[str], instance_types: Iterable[str], *, asker: AwsAsker | None = None
) -> LiveReading:
    """Newest spot prices of these machines, from AWS or from its last answer.

    Args:
        context: surroundings.
        regions: AWS's names.
        instance_types: AWS's names.
        asker: asked instead of boto3's default credentials.
    """
    wanted, types = sorted(set(regions)), sorted(set(instance_types))
    if not wanted or not types:
        return LiveReading(prices={}, notes=("no machine of AWS is shown: there is nothing to ask about spot prices",))
    if asker is None and not aws_live.is_installed():
        return LiveReading(prices={}, notes=(f"live spot prices are unknown: {aws_live.not_installed()}",))
    asker = asker or AwsAsker(limit_s=float(context.config.number("cloud_timeout_s")))
    now_s = context.clock()
    kept = CloudAnswers(context.home.answers_dir / _FILE, account=account_of(context, "aws"))
    stale = [region for region in wanted if not _is_enough(kept.fresh(region, now_s=now_s, max_age_s=MAX_AGE_S), types)]
    answers = asker.spot_prices(stale, types)
    told = {region: _plain(types, answer.value) for region, answer in answers.items() if answer.value is not None}
    if told:
        kept.keep(told, as_of_s=now_s)
    reasons: dict[str, list[str]] = {}
    for region, answer in answers.items():
        if answer.reason is not None:
            reasons.setdefault(answer.reason, []).append(region)
    prices: dict[tuple[str, str], LiveSpot] = {}
    for region in wanted:
        for price, age_s in _prices(region, kept.last(region), now_s):
            key = (region, price.instance_type)
            if price.instance_type in types and (
                key not in prices or price.usd_per_hour < prices[key].price.usd_per_hour
            ):
                prices[key] = LiveSpot(price=price, age_s=age_s)
    return LiveReading(
        prices=prices, notes=tuple(_note(reason, places, kept, now_s) for reason, places in reasons.items())
    )


def _is_enough(kept: KeptAnswer | None, types: list[str]) -> bool:
    return kept is not None and set(types) <= set(kept.value["types"])


def _plain(types: list[str], prices: list[SpotPrice]) -> dict[str, Any]:
    rows = [[price.zone, price.instance_type, str(price.usd_per_hour), price.since_s] for price in prices]
    return {"types": types, "prices": rows}


def _prices(region: str, kept: KeptAnswer | None, now_s: float) -> list[tuple[SpotPrice, float]]:
    if kept is None:
        return []
    return [
        (
            SpotPrice(region=region, zone=zone, instance_type=name, usd_per_hour=Decimal(usd), since_s=since_s),
            max(0.0, now_s - kept.as_of_s),
        )
        for zone, name, usd, since_s in kept.value["prices"]
    ]


def _note(reason: str, regions: list[str], kept: CloudAnswers, now_s: float) -> str:
    ages = [now_s - last.as_of_s for last in map(kept.last, regions) if last is not None]
    used = f"; answers of up to {format_duration(max(ages))} ago are used" if ages else "; the catalog's are shown"
    return f"live spot prices of {', '.join(regions)} are unknown: {reason}{used}"
