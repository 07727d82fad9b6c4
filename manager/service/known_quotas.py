"""What clouds last answered of this user's quotas, and what that means for a plan, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from manager.planner.moved import age_text
from manager.planner.plan import Estimate, Plan
from manager.prices.cloud_answers import CloudAnswers, KeptAnswer
from manager.prices.quota import Quota, QuotaRefusal, quota_refusal
from manager.service.cloud_accounts import account_of
from manager.service.context import Context

CLOUDS = ("aws", "gcp")
"""Clouds whose quotas can be asked."""
_LOOKED_AT = 3
"""Offers of a plan: the choice, and those that come next."""


def known_quotas(context: Context) -> tuple[Quota, ...]:
    """What the clouds last answered, of any age."""
    found: list[Quota] = []
    for cloud in CLOUDS:
        kept = kept_answers(context, cloud)
        for place in kept.places():
            found += quotas_in(kept.last(place))
    return tuple(found)


def kept_answers(context: Context, cloud: str) -> CloudAnswers:
    """The file of a cloud's answers to this account."""
    return CloudAnswers(context.home.answers_dir / f"{cloud}-quotas.json", account=account_of(context, cloud))


def quotas_in(kept: KeptAnswer | None) -> list[Quota]:
    """The quotas of an answer, with its date; none where another version kept it in another form."""
    if kept is None:
        return []
    try:
        found = [Quota(**{**fields, "covers": tuple(fields["covers"])}) for fields in kept.value]
    except (TypeError, KeyError):
        return []
    return [replace(quota, as_of_s=kept.as_of_s) for quota in found]


def quota_note(context: Context, plan: Plan) -> str | None:
    """The known quotas that do not allow a plan's first offers, and where to ask for more; None: they allow them.

    Args:
        context: surroundings; only what was kept there is read.
        plan: any.
    """
    quotas = known_quotas(context) if plan.offers else ()
    refused: dict[QuotaRefusal, list[str]] = {}
    for place, estimate in enumerate(plan.offers[:_LOOKED_AT]):
        refusal = quota_refusal(estimate.offer, quotas)
        if refusal is not None:
            refused.setdefault(refusal, []).append("the choice" if place == plan.chosen else f"offer {place + 1}")
    if not refused:
        return None
    parts = [_refusal_text(refusal, names, now_s=context.clock()) for refusal, names in refused.items()]
    return "; ".join((*parts, _allowed(plan.offers, quotas)))


def _refusal_text(refusal: QuotaRefusal, names: Sequence[str], *, now_s: float) -> str:
    """`quota `X` in us-east-1 is 0 vCPUs; 4 are needed for the choice (aws said so 3 h ago; ask for more: ...)`."""
    quota = refusal.quota
    when = "" if quota.as_of_s is None else f" {age_text(now_s - quota.as_of_s)} ago"
    more = "" if quota.request_url is None else f"; ask for more: {quota.request_url}"
    return f"{refusal.text} for {' and '.join(names)} ({quota.cloud} said so{when}{more})"


def _allowed(offers: Sequence[Estimate], quotas: Sequence[Quota]) -> str:
    first = next((one.offer.key for one in offers if quota_refusal(one.offer, quotas) is None), None)
    return "known quotas refuse all offers of this plan" if first is None else f"no known quota refuses {first}"
