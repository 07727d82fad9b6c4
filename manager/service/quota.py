"""Quotas of this user's accounts: asked of the clouds, kept with their date, unknown with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manager.errors import UsageError
from manager.prices import aws_live, gcp_live
from manager.prices.ask_in_time import Answer
from manager.prices.aws_live import AwsAsker
from manager.prices.cloud_answers import CloudAnswers
from manager.prices.gcp_live import GcpAsker
from manager.prices.market import Market, Rental
from manager.prices.quota import AllowedMachine, Quota, allowed_machines
from manager.service.context import Context
from manager.service.known_names import check_names, check_places
from manager.service.known_quotas import CLOUDS, kept_answers, quotas_in
from manager.service.market import read_market

MAX_AGE_S = 3600.0
"""An answer that is not older is not asked for again: quotas change when somebody has asked for more."""
_EVERYWHERE = "all"
"""Place of GCP's answer, which holds all regions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLine:
    """One quota and what can be done with it."""

    quota: Quota
    machines: tuple[AllowedMachine, ...]
    """With an accelerator, the largest first; empty: none, or the limit is unknown."""
    request_url: str | None
    """The cloud's own page to ask for more."""
    request_command: str | None
    """A command that does the same; the number in it is an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReport:
    """The answer."""

    lines: tuple[QuotaLine, ...]
    """Known quotas and, with a reason, those that are unknown."""
    notes: tuple[str, ...]


def quota_report(
    context: Context,
    clouds: tuple[str, ...] = (),
    regions: tuple[str, ...] = (),
    *,
    catalogs: Path | None = None,
    aws: AwsAsker | None = None,
    gcp: GcpAsker | None = None,
) -> QuotaReport:
    """Quotas of accelerators of these clouds and regions.

    Args:
        context: surroundings.
        clouds: of `CLOUDS`; empty: all of them.
        regions: empty: those that rent accelerators.
        catalogs: folder of price catalogs, for regions and machines; None: as for plans.
        aws: asked instead of boto3's default credentials.
        gcp: asked instead of google-auth's default credentials.

    Raises:
        UsageError: a cloud whose quotas cannot be asked, or a region that nobody knows.
        PriceError: the catalogs cannot be read.
    """
    check_names("cloud whose quotas can be asked", clouds, set(CLOUDS))
    market = read_market(context, catalogs)
    wanted = [cloud for cloud in CLOUDS if not clouds or cloud in {name.lower() for name in clouds}]
    check_places(market, regions=regions)
    quotas: list[Quota] = []
    for cloud in wanted:
        places = _regions(market, cloud, regions)
        if not places and clouds:
            raise UsageError(f"{cloud} has none of the regions {', '.join(regions)}", hint="leave --regions out")
        if places and cloud == "aws":
            quotas += _aws_quotas(context, places, aws)
        elif places:
            quotas += _gcp_quotas(context, places, gcp)
    rentals = [rental for rental in market.rentals if rental.cloud in wanted and rental.accelerator is not None]
    return QuotaReport(lines=tuple(_line(quota, rentals) for quota in quotas), notes=market.notes[:1])


def _regions(market: Market, cloud: str, asked: Sequence[str]) -> list[str]:
    """The cloud's regions that rent an accelerator; of those asked for, the cloud's own."""
    wanted = {region.casefold() for region in asked}
    found: set[str] = set()
    for rental in market.rentals:
        if rental.cloud == cloud and (rental.accelerator is not None or wanted):
            found.update(quote.region for quote in rental.quotes if quote.region is not None)
    return sorted(region for region in found if not wanted or region.casefold() in wanted)


def _aws_quotas(context: Context, regions: list[str], asker: AwsAsker | None) -> list[Quota]:
    if asker is None and not aws_live.is_installed():
        return [_unknown("aws", region, aws_live.not_installed()) for region in regions]
    asker = asker or AwsAsker(limit_s=float(context.config.number("cloud_timeout_s")))
    kept = kept_answers(context, "aws")
    now_s = context.clock()
    stale = [region for region in regions if kept.fresh(region, now_s=now_s, max_age_s=MAX_AGE_S) is None]
    answers = asker.quotas(stale)
    _keep(kept, answers, now_s)
    found: list[Quota] = []
    for region in regions:
        found += quotas_in(kept.last(region))
        reason = answers[region].reason if region in answers else None
        if reason is not None:
            found.append(_unknown("aws", region, reason))
    return found


def _gcp_quotas(context: Context, regions: list[str], asker: GcpAsker | None) -> list[Quota]:
    if asker is None and not gcp_live.is_installed():
        return [_unknown("gcp", None, gcp_live.not_installed())]
    kept = kept_answers(context, "gcp")
    now_s = context.clock()
    reason = None
    if kept.fresh(_EVERYWHERE, now_s=now_s, max_age_s=MAX_AGE_S) is None:
        asker = asker or GcpAsker(limit_s=float(context.config.number("cloud_timeout_s")))
        answer = asker.quotas()
        _keep(kept, {_EVERYWHERE: answer}, now_s)
        reason = answer.reason
    found = [quota for quota in quotas_in(kept.last(_EVERYWHERE)) if quota.region in (None, *regions)]
    return found if reason is None else [*found, _unknown("gcp", None, reason)]


def _keep(kept: CloudAnswers, answers: dict[str, Answer[list[Quota]]], now_s: float) -> None:
    told: dict[str, Any] = {
        place: [asdict(quota) for quota in answer.value]
        for place, answer in answers.items()
        if answer.value is not None
    }
    if told:
        kept.keep(told, as_of_s=now_s)


def _unknown(cloud: str, region: str | None, reason: str) -> Quota:
    """What is said of a place that did not answer."""
    return Quota(
        cloud=cloud,
        region=region,
        code="",
        name="all quotas of accelerators",
        use_spot=False,
        covers=(),
        unit="",
        limit=None,
        reason=reason,
    )


def _line(quota: Quota, rentals: Sequence[Rental]) -> QuotaLine:
    return QuotaLine(
        quota=quota,
        machines=allowed_machines(quota, rentals),
        request_url=quota.request_url,
        request_command=quota.request_command,
    )
