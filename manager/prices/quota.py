"""Quotas: how much of a kind of machine a cloud lets an account have, and whether an offer is within it.

Pure: what clouds answered comes in as `Quota`. An unknown limit refuses nothing. AWS counts vCPUs per family of
instances, GCP counts accelerators; what a quota is about is read from the cloud's own name for it, so that a quota
for a new family is understood without a table here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from manager.prices.market import Rental
from manager.prices.offer import Offer
from manager.prices.tpu_prices import is_tpu

VCPUS = "vCPUs"
GPUS = "GPUs"
TPU_CHIPS = "TPU chips"
ANY_GPU = "any GPU"
_AWS_NAMES = (
    (re.compile(r"Running On-Demand (.+) instances"), False),
    (re.compile(r"All (.+) Spot Instance Requests"), True),
)
_AWS_FAMILY = re.compile(r"[A-Z][A-Za-z]{0,3}\d*")
_AWS_TYPE = re.compile(r"([a-z]+)(\d+)[a-z0-9-]*\.")
_GCP_METRIC = re.compile(r"(PREEMPTIBLE_)?NVIDIA_(\w+?)_GPUS")
_GCP_TPU = re.compile(r"(PREEMPTIBLE_)?TPU_\w+")
_GCP_GLOBAL = "GPUS_ALL_REGIONS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One limit of one account."""

    cloud: str
    region: str | None
    """None: all regions together."""
    code: str
    """AWS's code (`L-417A185B`), GCP's metric (`NVIDIA_L4_GPUS`); empty where the cloud did not answer."""
    name: str
    """In the cloud's words."""
    use_spot: bool
    """Whether it limits spot machines; else those on demand."""
    covers: tuple[str, ...]
    """AWS: families, with a generation where it is about one (`P5`, `G`); GCP: the accelerator, or `any GPU`."""
    unit: str
    """`vCPUs`, `GPUs` or `TPU chips`."""
    limit: float | None
    """None is unknown."""
    in_use: float | None = None
    """None where the cloud does not tell."""
    is_default: bool = False
    """The cloud's limit for any account: that of this one was not told."""
    as_of_s: float | None = None
    """Unix time of the answer."""
    reason: str | None = None
    """Why the limit is unknown."""

    @property
    def free(self) -> float | None:
        """What is left of the limit; the limit itself where the use is unknown."""
        return None if self.limit is None else max(0.0, self.limit - (self.in_use or 0.0))

    @property
    def request_url(self) -> str | None:
        """The cloud's own page to ask for more; None where none is known."""
        if self.cloud == "aws" and self.code:
            page = f"https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas/{self.code}"
            return f"{page}?region={self.region}"
        return "https://console.cloud.google.com/iam-admin/quotas" if self.cloud == "gcp" and self.code else None

    @property
    def request_command(self) -> str | None:
        """A command that does the same, with N for the number; None where there is none."""
        if self.cloud != "aws" or not self.code:
            return None
        return (
            "aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {self.code} --region {self.region} --desired-value N"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRefusal:
    """A quota that is too small for an offer."""

    quota: Quota
    needed: float
    """In the quota's unit."""

    @property
    def text(self) -> str:
        """`quota `NVIDIA_L4_GPUS` in us-central1 is 8 GPUs, 6 of them in use; 4 are needed`."""
        quota = self.quota
        place = f" in {quota.region}" if quota.region else ""
        limit = f"{quota.limit:g} {quota.unit}{' unless it was raised' if quota.is_default else ''}"
        used = f", {quota.in_use:g} of them in use" if quota.in_use else ""
        needed = "1 is needed" if self.needed == 1 else f"{self.needed:g} are needed"
        return f"quota `{quota.name}`{place} is {limit}{used}; {needed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedMachine:
    """A machine that what is left of a quota is enough for."""

    instance_type: str | None
    accelerator: str | None
    accelerator_count: float
    machines: int
    """So many at the same time."""


def aws_quota_subject(name: str) -> tuple[bool, tuple[str, ...]] | None:
    """Whether an EC2 quota is about spot, and its families of instances, by its name; None for other quotas.

    `Running On-Demand G and VT instances`, `All P4, P3 and P2 Spot Instance Requests` (docs.aws.amazon.com, Amazon EC2
    instance type quotas); both count vCPUs per region.
    """
    for pattern, use_spot in _AWS_NAMES:
        found = pattern.fullmatch(name.strip())
        if found is not None:
            words = found[1].removeprefix("Standard").strip(" ()")
            families = tuple(word for word in re.split(r",\s*|\s+and\s+", words) if _AWS_FAMILY.fullmatch(word))
            return (use_spot, families) if families else None
    return None


def gcp_quota_subject(metric: str) -> tuple[bool, tuple[str, ...], str] | None:
    """Whether a Compute Engine quota is about spot, what it covers and its unit, by its metric; None for other quotas.

    Metrics of `compute.regions.get` and `compute.projects.get` (cloud.google.com/compute/docs/reference/rest/v1/Quota).
    """
    if metric == _GCP_GLOBAL:
        return False, (ANY_GPU,), GPUS
    found = _GCP_METRIC.fullmatch(metric)
    if found is not None and not found[2].endswith("_VWS"):
        return bool(found[1]), (found[2].replace("_", "-"),), GPUS
    found = _GCP_TPU.fullmatch(metric)
    if found is not None:
        return bool(found[1]), (metric.removeprefix("PREEMPTIBLE_"),), TPU_CHIPS
    return None


def quota_refusal(offer: Offer, quotas: Iterable[Quota]) -> QuotaRefusal | None:
    """The quota of an account that does not allow an offer; None when all do, or it is not known.

    A spot machine on GCP may also count against the quota of those on demand, as long as no preemptible one was
    granted (cloud.google.com/compute/docs/instances/create-use-spot): it is refused when neither is enough.
    """
    about = [quota for quota in quotas if quota.cloud == offer.cloud and quota.region in (None, offer.region)]
    if offer.cloud == "aws":
        return _first_refusal(offer, _aws_quotas(offer.instance_type, about, use_spot=offer.use_spot), about_all=True)
    if offer.cloud == "gcp":
        is_gpu = offer.accelerator is not None and not is_tpu(offer.accelerator)
        everywhere = [quota for quota in about if quota.covers == (ANY_GPU,) and is_gpu and not offer.use_spot]
        own = [quota for quota in about if _is_of(quota, offer.accelerator)]
        here = [quota for quota in own if quota.use_spot == offer.use_spot or (offer.use_spot and not quota.use_spot)]
        here.sort(key=lambda quota: quota.use_spot != offer.use_spot)
        return _first_refusal(offer, everywhere, about_all=True) or _first_refusal(offer, here, about_all=False)
    return None


def allowed_machines(quota: Quota, rentals: Iterable[Rental]) -> tuple[AllowedMachine, ...]:
    """The machines with an accelerator that what is left of a quota is enough for, the largest first."""
    left = quota.free
    if not left:
        return ()
    found: dict[tuple[str | None, str, float], AllowedMachine] = {}
    for rental in rentals:
        name = rental.accelerator
        if rental.cloud != quota.cloud or rental.use_spot != quota.use_spot or name is None:
            continue
        need = _need(quota, rental.instance_type, name, rental.accelerator_count, rental.vcpus)
        if need is not None and 0 < need <= left and _is_in(rental, quota.region):
            key = (rental.instance_type, name, rental.accelerator_count)
            found[key] = AllowedMachine(
                instance_type=key[0], accelerator=name, accelerator_count=key[2], machines=math.floor(left / need)
            )
    order = sorted(
        found.values(), key=lambda one: (-one.accelerator_count, one.accelerator or "", one.instance_type or "")
    )
    return tuple(order)


def _is_in(rental: Rental, region: str | None) -> bool:
    return region is None or any(quote.region == region for quote in rental.quotes)


def _need(quota: Quota, instance_type: str | None, accelerator: str, count: float, vcpus: float | None) -> float | None:
    """What one machine takes of a quota; None when the quota is not about it, or that is unknown."""
    if quota.cloud == "aws":
        return vcpus if _aws_quotas(instance_type, [quota], use_spot=quota.use_spot) else None
    if quota.covers == (ANY_GPU,):
        return None if is_tpu(accelerator) else count
    return count if _is_of(quota, accelerator) else None


def _aws_quotas(instance_type: str | None, quotas: Iterable[Quota], *, use_spot: bool) -> list[Quota]:
    """The quotas of an instance's family: those of its generation alone, where there are such."""
    found = _AWS_TYPE.match(instance_type or "")
    if found is None:
        return []
    letters, generation = found[1], found[2]
    wanted = [quota for quota in quotas if quota.use_spot == use_spot]
    exact = [quota for quota in wanted if f"{letters}{generation}" in _folded(quota.covers)]
    return exact or [quota for quota in wanted if letters in _folded(quota.covers)]


def _folded(names: tuple[str, ...]) -> set[str]:
    return {name.casefold() for name in names}


def _is_of(quota: Quota, accelerator: str | None) -> bool:
    if accelerator is None:
        return False
    return re.sub(r"\W", "", accelerator).casefold() in {re.sub(r"\W", "", name).casefold() for name in quota.covers}


def _first_refusal(offer: Offer, quotas: list[Quota], *, about_all: bool) -> QuotaRefusal | None:
    """The first quota that is too small; `about_all`: one is enough to refuse, else all have to."""
    found = [_refusal(offer, quota) for quota in quotas]
    refusals = [refusal for refusal in found if refusal is not None]
    if not refusals or (not about_all and len(refusals) < len(found)):
        return None
    return refusals[0]


def _refusal(offer: Offer, quota: Quota) -> QuotaRefusal | None:
    each = offer.vcpus if quota.unit == VCPUS else offer.accelerator_count
    left = quota.free
    if each is None or left is None or each * offer.num_nodes <= left:
        return None
    return QuotaRefusal(quota=quota, needed=each * offer.num_nodes)
