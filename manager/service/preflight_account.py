"""Checks before a launch that are about the user's accounts: credentials, quotas, the bucket, prices."""

from __future__ import annotations

from secrets import token_hex

from manager.launch.managed_check import check_managed
from manager.launch.managed_task import wants_recovery
from manager.launch.sky_check import check_sky
from manager.planner.limits import cost_at, cost_told
from manager.planner.moved import Move, age_text, at_price, movements
from manager.prices import aws_live
from manager.prices.aws_live import AwsAsker
from manager.prices.quota import quota_refusal
from manager.service.context import Context
from manager.service.known_quotas import CLOUDS
from manager.service.market import read_market
from manager.service.preflight import CheckState, Preflight, Question
from manager.service.quota import quota_report
from manager.service.running import LOCAL, with_fallbacks
from manager.service.spot_words import spot_warning
from manager.units import format_usd

_AWS = "aws"
_SKY_LOG = "preflight-sky.log"
_BUCKET_PATIENCE_S = 20.0
OLD_PRICE_S = 30 * 86400.0
"""Above this age a price is no proof of today's; providers change list prices a few times a year."""


def credentials(context: Context, question: Question) -> Preflight:
    """Whether the cloud of the choice knows this user."""
    offer = question.choice.offer
    if offer.cloud == LOCAL:
        return _skipped("credentials", "this machine asks for none")
    if offer.cloud == _AWS and aws_live.is_installed():
        asker = AwsAsker(limit_s=float(context.config.number("cloud_timeout_s")))
        found = asker.identity(offer.region or "us-east-1")
        if found.arn is not None:
            return _ok("credentials", f"AWS knows {found.arn}")
        state = CheckState.FAILED if found.is_refused else CheckState.UNKNOWN
        return Preflight(name="credentials", state=state, text=found.reason or "AWS said nothing", hint=None)
    return _enabled_in_sky(offer.cloud)


def _enabled_in_sky(cloud: str) -> Preflight:
    checked = check_sky()
    if checked.clouds is None:
        why = checked.problem or "its API server does not run, and says so at the first launch"
        return _unknown("credentials", f"SkyPilot was not asked which clouds are enabled: {why}", checked.hint)
    if cloud in {name.casefold() for name in checked.clouds}:
        return _ok("credentials", f"{cloud} is enabled in SkyPilot")
    return _failed(
        "credentials", f"{cloud} is not enabled in SkyPilot", f"run `sky check {cloud}`: it says what is missing"
    )


def quota(context: Context, question: Question) -> Preflight:
    """Whether the account may rent the choice; fall-backs count where the choice is refused."""
    offer = question.choice.offer
    if offer.cloud == LOCAL:
        return _skipped("quota", "this machine has none")
    if offer.cloud not in CLOUDS:
        return _skipped("quota", f"quotas of {offer.cloud} cannot be asked")
    regions = () if offer.region is None else (offer.region,)
    report = quota_report(context, (offer.cloud,), regions, catalogs=question.catalogs)
    quotas = [line.quota for line in report.lines]
    refusal = quota_refusal(offer, quotas)
    if refusal is None:
        reason = next((one.reason for one in quotas if one.reason is not None and not one.code), None)
        if reason is not None:
            return _unknown("quota", reason)
        return _ok("quota", f"{len(quotas)} quotas of {offer.cloud} asked, none refuses {offer.key}")
    hint = refusal.quota.request_command or refusal.quota.request_url
    others = [one.key for one in question.request.offers[1:] if quota_refusal(one, quotas) is None]
    if others:
        return _unknown("quota", f"{refusal.text}; a fall-back may do: {others[0]}", hint)
    if refusal.quota.is_default:
        return _unknown("quota", refusal.text, hint)
    return _failed("quota", refusal.text, hint)


def bucket(context: Context, question: Question) -> Preflight:
    """Whether a tiny object can be written to the run's bucket, read and deleted."""
    store = question.request.job.store
    if store is None:
        warning = spot_warning(question.request)
        return _skipped("bucket", warning or "none is set: checkpoints stay on the machine's disk")
    from tasks.stores.errors import DeniedError, NotFoundError, StoreError  # Only where there is a bucket.
    from tasks.stores.opening import open_store
    from tasks.stores.retry import Patience

    uri = store.uri
    key, content = f"preflight-{token_hex(8)}", b"tunefare\n"
    try:
        opened = open_store(uri, patience=Patience(total_s=_BUCKET_PATIENCE_S))
        opened.put_bytes(key, content)
        try:
            read = opened.get_bytes(key)
        finally:
            opened.delete([key])
    except (DeniedError, NotFoundError) as error:
        return _failed(
            "bucket", f"{uri}: {error.message}", error.hint or "it needs permission to write, read and delete"
        )
    except StoreError as error:
        return _unknown("bucket", f"{uri}: {error.message}", error.hint)
    if read != content:
        return _failed("bucket", f"{uri} gives back another content than was stored", "name another bucket")
    found = f"{uri}: an object was written, read and deleted"
    if not wants_recovery(question.request):
        return _ok("bucket", found)
    managed = check_managed()
    if managed.can is False:
        return _unknown("bucket", f"{found}; but {managed.text}", managed.hint)
    return _ok("bucket", f"{found}; {managed.text}")


def price(context: Context, question: Question) -> Preflight:
    """Whether the price of the plan is that of today, and the cap still holds."""
    plan, choice = question.plan, question.choice
    if choice.offer.cloud == LOCAL:
        told = f"{format_usd(choice.offer.price_usd_per_hour)}/h, {choice.offer.price_source}"
        return _ok("price", told) if choice.offer.price_usd_per_hour is not None else _unknown("price", told)
    moved = movements(with_fallbacks(plan, choice), read_market(context, question.catalogs).offers())[0]
    if moved.now is None or moved.move in (Move.GONE, Move.PRICE_UNKNOWN):
        return _failed("price", moved.text(), "plan anew: `tunefare plan`")
    if moved.new_usd_per_hour is None:
        return _unknown("price", f"{moved.key} has no known price")
    age_s = moved.now.price_age_s
    age = f"{moved.now.price_source}, " + ("of an unknown day" if age_s is None else f"{age_text(age_s)} old")
    today, limits = at_price(choice, moved.now), plan.limits
    if limits.max_usd is not None and today.cost_usd is not None and cost_at(limits, today.cost_usd) > limits.max_usd:
        over = f"the run costs {cost_told(limits, today.cost_usd)} now, over the cap of {format_usd(limits.max_usd)}"
        return _failed("price", f"{moved.text()}; {over}", "plan anew, or raise the cap")
    if age_s is None or age_s > OLD_PRICE_S:
        return _unknown("price", f"{moved.text()} ({age})", "bring today's: `tunefare prices --refresh`")
    return _ok("price", f"{moved.text()} ({age})")


def _ok(name: str, text: str) -> Preflight:
    return Preflight(name=name, state=CheckState.OK, text=text)


def _failed(name: str, text: str, hint: str | None) -> Preflight:
    return Preflight(name=name, state=CheckState.FAILED, text=text, hint=hint)


def _unknown(name: str, text: str, hint: str | None = None) -> Preflight:
    return Preflight(name=name, state=CheckState.UNKNOWN, text=text, hint=hint)


def _skipped(name: str, text: str) -> Preflight:
    return Preflight(name=name, state=CheckState.SKIPPED, text=text)
