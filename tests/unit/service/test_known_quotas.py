"""Notes of a plan about quotas that were asked before: nobody is asked, and what is not known refuses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manager.planner.build import plan_of
from manager.planner.plan import Plan
from manager.prices.ask_in_time import Answer
from manager.prices.aws_live import AwsAsker
from manager.prices.gcp_live import GcpAsker
from manager.prices.offer import Offer
from manager.prices.quota import VCPUS, Quota
from manager.service.context import Context
from manager.service.known_quotas import kept_answers, known_quotas, quota_note
from manager.service.quota import quota_report
from manager.spec.model import Where
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_gpu_offer, make_spec
from tests.support.price_stage import NOW_S, catalog, stage, write_catalog

SPEC = make_spec(where=Where(spot=True))
VARIANT = variant_of(SPEC)
HOUR_S = 3600


def g6(region: str, price: str, *, cloud: str = "aws", spot: bool = False) -> Offer:
    offer = make_gpu_offer("L4", price=price, cloud=cloud, region=region, spot=spot)
    return replace(offer, instance_type="g6.xlarge", vcpus=4.0)


def plan(*offers: Offer) -> Plan:
    return plan_of(planner_of(offers, VARIANT), SPEC, created_at_s=NOW_S, notes=())


class PlayedAws(AwsAsker):
    """AWS with a quota on demand of so many vCPUs of G in every region that is asked for."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def quotas(self, regions: object) -> dict[str, Answer[list[Quota]]]:
        assert isinstance(regions, list)
        return {region: Answer(value=[self._quota(region)]) for region in regions}

    def _quota(self, region: str) -> Quota:
        return Quota(
            cloud="aws",
            region=region,
            code="L-DB2E81BA",
            name="Running On-Demand G and VT instances",
            use_spot=False,
            covers=("G", "VT"),
            unit=VCPUS,
            limit=self.limit,
        )


def asked(folder: Path, limit: float, *, regions: tuple[str, ...] = (), ago_s: float = 0.0) -> Context:
    """A context whose user has asked AWS some time ago."""
    write_catalog(folder / "catalogs", "aws", catalog(rows=2))
    then = stage(folder, clock=lambda: NOW_S - ago_s)
    quota_report(then, ("aws",), regions, catalogs=folder / "catalogs", aws=PlayedAws(limit))
    return replace(then, clock=lambda: NOW_S)


def test_a_choice_beyond_a_quota_is_told_with_its_date_and_where_to_ask_for_more(tmp_path: Path) -> None:
    context = asked(tmp_path, 0, ago_s=3 * HOUR_S)
    made = plan(g6("us-east-1", "0.5"), g6("us-west-2", "0.6"), g6("us-central1", "0.7", cloud="gcp"))
    quota = "quota `Running On-Demand G and VT instances`"
    page = "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas/L-DB2E81BA"
    assert quota_note(context, made) == (
        f"{quota} in us-east-1 is 0 vCPUs; 4 are needed for the choice "
        f"(aws said so 3 h ago; ask for more: {page}?region=us-east-1); "
        f"{quota} in us-west-2 is 0 vCPUs; 4 are needed for offer 2 "
        f"(aws said so 3 h ago; ask for more: {page}?region=us-west-2); "
        "no known quota refuses gcp/us-central1/g6.xlarge/L4:1/on-demand"
    )


def test_offers_that_one_quota_refuses_share_a_sentence(tmp_path: Path) -> None:
    two = replace(g6("us-east-1", "0.6"), instance_type="g6.2xlarge")
    context = asked(tmp_path, 0)
    note = quota_note(context, plan(g6("us-east-1", "0.5"), two))
    assert note is not None
    assert note.count("Running On-Demand") == 1
    assert "for the choice and offer 2 (aws said so less than an hour ago;" in note
    assert note.endswith("; known quotas refuse all offers of this plan")
    larger = quota_note(context, plan(g6("us-east-1", "0.5"), replace(two, vcpus=8.0)))
    assert larger is not None
    assert "4 are needed for the choice (" in larger
    assert "8 are needed for offer 2 (" in larger


@pytest.mark.parametrize("limit", [4.0, 64.0])
def test_nothing_is_said_of_what_is_allowed(tmp_path: Path, limit: float) -> None:
    assert quota_note(asked(tmp_path, limit), plan(g6("us-east-1", "0.5"))) is None


def test_other_regions_the_other_market_and_later_offers_are_not_warned_of(tmp_path: Path) -> None:
    context = asked(tmp_path, 0, regions=("us-west-2",))
    assert quota_note(context, plan(g6("us-east-1", "0.5"))) is None
    assert quota_note(context, plan(g6("us-west-2", "0.5", spot=True))) is None
    prices = ("0.5", "0.6", "0.7")
    first = [replace(g6("us-east-1", price), instance_type=f"g6.{place}xlarge") for place, price in enumerate(prices)]
    assert quota_note(context, plan(*first, g6("us-west-2", "0.9"))) is None
    assert quota_note(context, plan(*first[:2], g6("us-west-2", "0.9"))) is not None


def test_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsAsker, "quotas", lambda *_: pytest.fail("AWS was asked"))
    monkeypatch.setattr(GcpAsker, "quotas", lambda *_: pytest.fail("GCP was asked"))
    context = stage(tmp_path, clock=lambda: NOW_S)
    assert known_quotas(context) == ()
    assert quota_note(context, plan(g6("us-east-1", "0.5"))) is None
    assert quota_note(context, plan(g6("us-east-1", "0.5", cloud="gcp"))) is None


def test_a_plan_without_offers_needs_no_quota(tmp_path: Path) -> None:
    made = plan(replace(g6("us-east-1", "0.5"), price_usd_per_hour=None))
    assert made.chosen is None
    assert quota_note(asked(tmp_path, 0), made) is None


@pytest.mark.parametrize("kept", [[{"cloud": "aws"}], [{"covers": [], "new_field": 1}], [3], 7, {"a": 1}])
def test_answers_in_the_form_of_another_version_count_as_none(tmp_path: Path, kept: object) -> None:
    context = asked(tmp_path, 0)
    kept_answers(context, "aws").keep({"us-east-1": kept, "us-west-2": kept}, as_of_s=NOW_S)
    assert json.loads((context.home.answers_dir / "aws-quotas.json").read_text())["answers"]["us-east-1"]
    assert known_quotas(context) == ()
    assert quota_note(context, plan(g6("us-east-1", "0.5"))) is None


def test_the_note_loads_no_library_of_a_cloud() -> None:
    names = ("boto3", "botocore", "google.auth", "manager.prices.aws_live", "manager.prices.gcp_live")
    code = f"import sys, manager.service.known_quotas; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
