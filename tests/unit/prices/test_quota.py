"""What a quota covers, what is left of it, and which offers it refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.prices.quota import (
    GPUS,
    VCPUS,
    Quota,
    allowed_machines,
    aws_quota_subject,
    gcp_quota_subject,
    quota_refusal,
)


def offer(
    cloud: str = "aws",
    instance_type: str = "p4d.24xlarge",
    accelerator: str | None = "A100",
    count: float = 8,
    *,
    vcpus: float | None = 96,
    region: str = "us-east-1",
    use_spot: bool = False,
    num_nodes: int = 1,
) -> Offer:
    return Offer(
        cloud=cloud,
        region=region,
        instance_type=instance_type,
        accelerator=accelerator,
        accelerator_count=count,
        accelerator_memory_bytes=None,
        vcpus=vcpus,
        host_memory_bytes=None,
        use_spot=use_spot,
        num_nodes=num_nodes,
        price_usd_per_hour=Decimal(1),
        price_source="test",
        price_age_s=None,
    )


def aws(name: str, limit: float | None, region: str = "us-east-1") -> Quota:
    subject = aws_quota_subject(name)
    assert subject is not None
    return Quota(
        cloud="aws",
        region=region,
        code="L-1",
        name=name,
        use_spot=subject[0],
        covers=subject[1],
        unit=VCPUS,
        limit=limit,
    )


def gcp(metric: str, limit: float | None, *, in_use: float = 0.0, region: str | None = "us-central1") -> Quota:
    subject = gcp_quota_subject(metric)
    assert subject is not None
    return Quota(
        cloud="gcp",
        region=region,
        code=metric,
        name=metric,
        use_spot=subject[0],
        covers=subject[1],
        unit=subject[2],
        limit=limit,
        in_use=in_use,
    )


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("Running On-Demand P instances", (False, ("P",))),
        ("Running On-Demand G and VT instances", (False, ("G", "VT"))),
        ("Running On-Demand Trn instances", (False, ("Trn",))),
        ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", (False, tuple("ACDHIMRTZ"))),
        ("All P4, P3 and P2 Spot Instance Requests", (True, ("P4", "P3", "P2"))),
        ("All P5 Spot Instance Requests", (True, ("P5",))),
        ("All Inf Spot Instance Requests", (True, ("Inf",))),
        ("Running On-Demand High Memory instances", None),
        ("Running Dedicated p5 Hosts", None),
        ("EC2-VPC Elastic IPs", None),
    ],
)
def test_aws_names(name: str, subject: tuple[bool, tuple[str, ...]] | None) -> None:
    assert aws_quota_subject(name) == subject


@pytest.mark.parametrize(
    ("metric", "subject"),
    [
        ("NVIDIA_A100_80GB_GPUS", (False, ("A100-80GB",), GPUS)),
        ("PREEMPTIBLE_NVIDIA_H100_MEGA_GPUS", (True, ("H100-MEGA",), GPUS)),
        ("GPUS_ALL_REGIONS", (False, ("any GPU",), GPUS)),
        ("PREEMPTIBLE_TPU_LITE_PODSLICE_V5", (True, ("TPU_LITE_PODSLICE_V5",), "TPU chips")),
        ("COMMITTED_NVIDIA_L4_GPUS", None),
        ("NVIDIA_L4_VWS_GPUS", None),
        ("CPUS", None),
    ],
)
def test_gcp_metrics(metric: str, subject: tuple[bool, tuple[str, ...], str] | None) -> None:
    assert gcp_quota_subject(metric) == subject


def test_no_quota_is_no_refusal() -> None:
    assert quota_refusal(offer(), []) is None
    assert quota_refusal(offer(), [aws("Running On-Demand P instances", None)]) is None
    assert quota_refusal(offer(cloud="lambda"), [aws("Running On-Demand P instances", 0)]) is None
    assert quota_refusal(offer(vcpus=None), [aws("Running On-Demand P instances", 0)]) is None


def test_aws_counts_vcpus_of_all_nodes() -> None:
    quotas = [aws("Running On-Demand P instances", 96)]
    assert quota_refusal(offer(), quotas) is None
    refusal = quota_refusal(offer(num_nodes=2), quotas)
    assert refusal is not None
    assert refusal.text == ("quota `Running On-Demand P instances` in us-east-1 is 96 vCPUs; 192 are needed")


def test_a_default_limit_may_have_been_raised() -> None:
    default = replace(aws("Running On-Demand P instances", 0), is_default=True)
    refusal = quota_refusal(offer(), [default])
    assert refusal is not None
    assert refusal.text.endswith("is 0 vCPUs unless it was raised; 96 are needed")
    one = quota_refusal(google("L4", 1), [gcp("NVIDIA_L4_GPUS", 0)])
    assert one is not None
    assert one.text == "quota `NVIDIA_L4_GPUS` in us-central1 is 0 GPUs; 1 is needed"


def test_where_to_ask_for_more() -> None:
    quota = replace(aws("Running On-Demand P instances", 0), code="L-417A185B")
    assert str(quota.request_url).endswith("/ec2/quotas/L-417A185B?region=us-east-1")
    assert "--quota-code L-417A185B --region us-east-1" in str(quota.request_command)
    assert gcp("NVIDIA_L4_GPUS", 0).request_command is None
    assert "console.cloud.google.com" in str(gcp("NVIDIA_L4_GPUS", 0).request_url)
    untold = replace(quota, code="")
    assert (untold.request_url, untold.request_command) == (None, None)


def test_other_regions_markets_and_families_do_not_count() -> None:
    zero = [
        aws("Running On-Demand P instances", 0, region="eu-west-1"),
        aws("All P4, P3 and P2 Spot Instance Requests", 0),
        aws("Running On-Demand G and VT instances", 0),
    ]
    assert quota_refusal(offer(), zero) is None
    assert "All P4, P3 and P2" in str(quota_refusal(offer(use_spot=True), zero))
    assert "G and VT" in str(quota_refusal(offer(instance_type="g6f.2xlarge", accelerator="L4"), zero))


def test_a_generations_own_quota_is_the_one_that_counts() -> None:
    quotas = [aws("All P5 Spot Instance Requests", 192), aws("All P4, P3 and P2 Spot Instance Requests", 0)]
    assert quota_refusal(offer(instance_type="p5en.48xlarge", use_spot=True), quotas) is None
    assert quota_refusal(offer(instance_type="p4de.24xlarge", use_spot=True), quotas) is not None
    assert quota_refusal(offer(instance_type="p6-b200.48xlarge", use_spot=True), quotas) is None
    whole = [aws("All P Spot Instance Requests", 0)]
    assert quota_refusal(offer(instance_type="p6-b200.48xlarge", use_spot=True), whole) is not None


def google(accelerator: str, count: float, *, use_spot: bool = False) -> Offer:
    return offer("gcp", "a-host", accelerator, count, region="us-central1", use_spot=use_spot)


def test_gcp_counts_accelerators_that_are_left() -> None:
    quotas = [gcp("NVIDIA_A100_80GB_GPUS", 8, in_use=6), gcp("NVIDIA_A100_GPUS", 0), gcp("NVIDIA_L4_GPUS", 0)]
    assert quota_refusal(google("A100-80GB", 2), quotas) is None
    refusal = quota_refusal(google("A100-80GB", 4), quotas)
    assert refusal is not None
    assert "is 8 GPUs, 6 of them in use; 4 are needed" in refusal.text
    assert quota_refusal(google("H100", 8), quotas) is None


def test_gcp_limits_all_regions_together_on_demand() -> None:
    quotas = [gcp("GPUS_ALL_REGIONS", 0, region=None), gcp("NVIDIA_L4_GPUS", 8), gcp("PREEMPTIBLE_NVIDIA_L4_GPUS", 8)]
    assert "GPUS_ALL_REGIONS" in str(quota_refusal(google("L4", 1), quotas))
    assert quota_refusal(google("L4", 1, use_spot=True), quotas) is None
    assert quota_refusal(google("tpu-v5litepod-8", 1), quotas) is None
    assert quota_refusal(offer("gcp", "n2-standard-8", None, 0, region="us-central1"), quotas) is None
    assert quota_refusal(google("L4", 1), [gcp("GPUS_ALL_REGIONS", 1, region=None), gcp("NVIDIA_L4_GPUS", 1)]) is None


def test_spot_on_gcp_is_refused_when_neither_quota_is_enough() -> None:
    spot, on_demand = gcp("PREEMPTIBLE_NVIDIA_L4_GPUS", 0), gcp("NVIDIA_L4_GPUS", 1)
    assert quota_refusal(google("L4", 1, use_spot=True), [spot, on_demand]) is None
    refusal = quota_refusal(google("L4", 2, use_spot=True), [on_demand, spot])
    assert "PREEMPTIBLE_NVIDIA_L4_GPUS" in str(refusal)
    assert quota_refusal(google("L4", 2), [on_demand, spot]) is not None


def test_machines_that_a_quota_is_enough_for() -> None:
    market = Market.of_offers(
        [
            offer(),
            offer(instance_type="p3.2xlarge", accelerator="V100", count=1, vcpus=8),
            offer(instance_type="p3.8xlarge", accelerator="V100", count=4, vcpus=32),
            offer(instance_type="p3.8xlarge", accelerator="V100", count=4, vcpus=32, use_spot=True),
            offer(instance_type="p2.xlarge", accelerator="K80", count=1, vcpus=4, region="eu-west-1"),
            offer(instance_type="g6.xlarge", accelerator="L4", count=1, vcpus=4),
            offer(instance_type="m7i.xlarge", accelerator=None, count=0, vcpus=4),
        ]
    )
    quota = aws("Running On-Demand P instances", 64)
    found = allowed_machines(quota, market.rentals)
    assert [(one.instance_type, one.accelerator_count, one.machines) for one in found] == [
        ("p3.8xlarge", 4, 2),
        ("p3.2xlarge", 1, 8),
    ]
    assert allowed_machines(aws("Running On-Demand P instances", 0), market.rentals) == ()
    assert allowed_machines(aws("Running On-Demand P instances", None), market.rentals) == ()


def test_machines_of_a_gcp_quota() -> None:
    market = Market.of_offers([google("L4", 1), google("L4", 4), google("T4", 1), google("tpu-v5litepod-8", 1)])
    found = allowed_machines(gcp("NVIDIA_L4_GPUS", 2), market.rentals)
    assert [(one.accelerator, one.accelerator_count, one.machines) for one in found] == [("L4", 1, 2)]
    everywhere = allowed_machines(gcp("GPUS_ALL_REGIONS", 4, region=None), market.rentals)
    assert [(one.accelerator, one.accelerator_count) for one in everywhere] == [("L4", 4), ("L4", 1), ("T4", 1)]
