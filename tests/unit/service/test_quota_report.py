"""`quota`: what clouds answer is kept with its date; what they do not answer is unknown with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from manager.errors import UsageError
from manager.prices import aws_live, gcp_live
from manager.prices.ask_in_time import Answer
from manager.prices.aws_live import AwsAsker
from manager.prices.gcp_live import GcpAsker
from manager.prices.quota import GPUS, VCPUS, Quota
from manager.service.context import Context
from manager.service.known_quotas import known_quotas
from manager.service.quota import MAX_AGE_S, QuotaReport, quota_report
from tests.support.price_stage import NOW_S, catalog, stage, write_catalog

GCP_CATALOG = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
g2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.14683,0.05873
,,,L4,1,,us-central1,us-central1-a,0.56,0.22311
"""


class PlayedAws(AwsAsker):
    """AWS with one quota on demand for G, as large as it is told."""

    def __init__(self, *, limit: float = 8.0, reason: str | None = None) -> None:
        super().__init__()
        self.limit, self.reason = limit, reason
        self.asked: list[list[str]] = []

    def quotas(self, regions: Iterable[str]) -> dict[str, Answer[list[Quota]]]:
        places = list(regions)
        self.asked.append(places)
        if self.reason is not None:
            return {region: Answer(reason=self.reason) for region in places}
        return {region: Answer(value=[g_quota(region, self.limit)]) for region in places}


class PlayedGcp(GcpAsker):
    def __init__(self, *quotas: Quota, reason: str | None = None) -> None:
        super().__init__()
        self.answer: Answer[list[Quota]] = Answer(value=None if reason else list(quotas), reason=reason)
        self.asked = 0

    def quotas(self) -> Answer[list[Quota]]:
        self.asked += 1
        return self.answer


def g_quota(region: str, limit: float) -> Quota:
    return Quota(
        cloud="aws",
        region=region,
        code="L-DB2E81BA",
        name="Running On-Demand G and VT instances",
        use_spot=False,
        covers=("G", "VT"),
        unit=VCPUS,
        limit=limit,
    )


def l4_quota(region: str | None, limit: float) -> Quota:
    return Quota(
        cloud="gcp",
        region=region,
        code="NVIDIA_L4_GPUS",
        name="NVIDIA_L4_GPUS",
        use_spot=False,
        covers=("L4",),
        unit=GPUS,
        limit=limit,
        in_use=1.0,
    )


def prepared(folder: Path, *, now_s: float = NOW_S) -> Context:
    write_catalog(folder / "catalogs", "aws", catalog(rows=2))
    write_catalog(folder / "catalogs", "gcp", GCP_CATALOG)
    return stage(folder, clock=lambda: now_s)


def report(
    folder: Path, aws: AwsAsker, gcp: GcpAsker, *, now_s: float = NOW_S, regions: tuple[str, ...] = ()
) -> QuotaReport:
    context = prepared(folder, now_s=now_s)
    return quota_report(context, regions=regions, catalogs=folder / "catalogs", aws=aws, gcp=gcp)


def test_quotas_of_regions_with_accelerators_and_what_they_are_enough_for(tmp_path: Path) -> None:
    aws, gcp = PlayedAws(), PlayedGcp(l4_quota("us-central1", 3.0), l4_quota("asia-east1", 1.0))
    lines = report(tmp_path, aws, gcp).lines
    assert aws.asked == [["us-east-1", "us-west-2"]]
    assert [(line.quota.cloud, line.quota.region, line.quota.limit) for line in lines] == [
        ("aws", "us-east-1", 8.0),
        ("aws", "us-west-2", 8.0),
        ("gcp", "us-central1", 3.0),
    ]
    assert [[(one.instance_type, one.machines) for one in line.machines] for line in lines] == [
        [("g6.xlarge", 2)],
        [("g6.xlarge", 2)],
        [("g2-standard-4", 2)],
    ]
    assert "L-DB2E81BA?region=us-east-1" in str(lines[0].request_url)
    assert "--region us-east-1" in str(lines[0].request_command)


def test_answers_are_kept_for_an_hour(tmp_path: Path) -> None:
    aws, gcp = PlayedAws(), PlayedGcp(l4_quota("us-central1", 3.0))
    report(tmp_path, aws, gcp)
    again = report(tmp_path, aws, gcp, now_s=NOW_S + MAX_AGE_S - 1)
    assert (aws.asked[1:], gcp.asked) == ([[]], 1)
    assert [line.quota.as_of_s for line in again.lines] == [NOW_S] * 3
    report(tmp_path, aws, gcp, now_s=NOW_S + MAX_AGE_S + 1)
    assert (aws.asked[2], gcp.asked) == (["us-east-1", "us-west-2"], 2)


def test_a_region_that_does_not_answer_is_unknown_beside_its_last_answer(tmp_path: Path) -> None:
    report(tmp_path, PlayedAws(), PlayedGcp(l4_quota("us-central1", 3.0)))
    later = report(
        tmp_path, PlayedAws(reason="no answer"), PlayedGcp(reason="login expired"), now_s=NOW_S + 2 * MAX_AGE_S
    )
    assert [(line.quota.region, line.quota.limit, line.quota.reason) for line in later.lines] == [
        ("us-east-1", 8.0, None),
        ("us-east-1", None, "no answer"),
        ("us-west-2", 8.0, None),
        ("us-west-2", None, "no answer"),
        ("us-central1", 3.0, None),
        (None, None, "login expired"),
    ]


def test_another_profile_does_not_see_the_answers_of_the_first(tmp_path: Path) -> None:
    context = prepared(tmp_path)
    quota_report(context, ("aws",), catalogs=tmp_path / "catalogs", aws=PlayedAws())
    assert {quota.region for quota in known_quotas(context)} == {"us-east-1", "us-west-2"}
    credentials = tmp_path / "user" / ".aws" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text("[default]")
    assert known_quotas(context) == ()


def test_known_quotas_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsAsker, "quotas", lambda *_: pytest.fail("AWS was asked"))
    assert known_quotas(prepared(tmp_path)) == ()


def test_without_the_extras_all_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_live, "is_installed", lambda: False)
    monkeypatch.setattr(gcp_live, "is_installed", lambda: False)
    lines = quota_report(prepared(tmp_path), catalogs=tmp_path / "catalogs").lines
    reasons = {(line.quota.cloud, line.quota.region): str(line.quota.reason) for line in lines}
    assert "boto3 is not installed" in reasons["aws", "us-east-1"]
    assert "tunefare[aws]" in reasons["aws", "us-west-2"]
    assert "tunefare[gcp]" in reasons["gcp", None]


def test_regions_asked_for_choose_the_cloud(tmp_path: Path) -> None:
    aws, gcp = PlayedAws(), PlayedGcp(l4_quota("us-central1", 3.0))
    lines = report(tmp_path, aws, gcp, regions=("US-west-2",)).lines
    assert [line.quota.region for line in lines] == ["us-west-2"]
    assert gcp.asked == 0


@pytest.mark.parametrize(
    ("clouds", "regions", "words"),
    [
        (("azure",), (), "quotas can be asked `azure`"),
        ((), ("us-east-9",), "no region `us-east-9`"),
        (("gcp",), ("us-east-1",), "gcp has none of the regions us-east-1"),
    ],
)
def test_names_that_mean_nothing(tmp_path: Path, clouds: tuple[str, ...], regions: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        quota_report(prepared(tmp_path), clouds, regions, catalogs=tmp_path / "catalogs")
