"""Checks before anything costs: what each answers, and that an error of one keeps no other from being made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manager.errors import StateError, UsageError
from manager.launch.engine import LaunchRequest
from manager.planner.plan import Plan
from manager.prices.aws_live import AwsAsker, Identity
from manager.prices.offer import Offer
from manager.prices.quota import Quota
from manager.profiling.trial import Trial, TrialFailure
from manager.service import preflight_account, preflight_task
from manager.service.context import Context
from manager.service.preflight import CheckState, Preflight, Question, check_launch, preflight, preflight_to_json
from tasks.job import DataChoice, Job, ModelChoice, StoreChoice
from tests.support.contexts import make_context
from tests.unit.runs.samples import offer, plan

OK, FAILED, UNKNOWN, SKIPPED = CheckState.OK, CheckState.FAILED, CheckState.UNKNOWN, CheckState.SKIPPED


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


def rented(cloud: str = "aws") -> Offer:
    return replace(
        offer(Decimal("1.00")), cloud=cloud, region="us-east-1", instance_type="g6.xlarge", accelerator="L4", vcpus=4
    )


def question(of: Offer, *, others: tuple[Offer, ...] = (), is_launch: bool = False, **changes: Any) -> Question:
    made = plan(price=of.price_usd_per_hour)
    made = replace(made, offers=(replace(made.offers[0], offer=of),))
    job = Job(run_id="r", model=ModelChoice(source="m"), data=DataChoice(source="d"), store=changes.pop("store", None))
    request = LaunchRequest(run_id="r", job=job, offers=(of, *others), run_dir=Path("r"), **changes)
    choice = made.offers[0]
    return Question(plan=made, choice=choice, request=request, catalogs=None, is_launch=is_launch)


@pytest.mark.parametrize(
    ("identity", "state"),
    [
        (Identity(arn="arn:aws:iam::1:user/me"), OK),
        (Identity(arn=None, reason="no AWS credentials: run `aws configure`", is_refused=True), FAILED),
        (Identity(arn=None, reason="AWS did not answer in time"), UNKNOWN),
    ],
)
def test_aws_is_asked_who_this_is(
    identity: Identity, state: CheckState, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.prices.aws_live.is_installed", lambda: True)
    monkeypatch.setattr(AwsAsker, "identity", lambda self, region: identity)
    found = preflight_account.credentials(context, question(rented()))
    assert found.state is state
    assert (identity.arn or identity.reason or "") in found.text


@pytest.mark.parametrize(("clouds", "state"), [(("Lambda",), OK), (("AWS",), FAILED), (None, UNKNOWN)])
def test_other_clouds_are_as_skypilot_has_enabled_them(
    clouds: tuple[str, ...] | None, state: CheckState, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = SimpleNamespace(clouds=clouds, problem=None, hint=None)
    monkeypatch.setattr(preflight_account, "check_sky", lambda: checked)
    assert preflight_account.credentials(context, question(rented("lambda"))).state is state


def quota_of(vcpus: float, **changes: Any) -> Quota:
    known: dict[str, Any] = {
        "cloud": "aws",
        "region": "us-east-1",
        "code": "L-1",
        "name": "Running On-Demand G and VT instances",
        "use_spot": False,
        "covers": ("G", "VT"),
        "unit": "vCPUs",
        "limit": vcpus,
    }
    return Quota(**{**known, **changes})


@pytest.mark.parametrize(
    ("quota", "others", "state"),
    [
        (quota_of(8), (), OK),
        (quota_of(0), (), FAILED),
        (quota_of(0, is_default=True), (), UNKNOWN),
        (quota_of(0), (rented("lambda"),), UNKNOWN),
        (quota_of(0, code="", covers=(), limit=None, reason="AWS did not answer in time"), (), UNKNOWN),
    ],
)
def test_quotas(
    quota: Quota, others: tuple[Offer, ...], state: CheckState, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = SimpleNamespace(lines=(SimpleNamespace(quota=quota),))
    monkeypatch.setattr(preflight_account, "quota_report", lambda *_, **__: report)
    found = preflight_account.quota(context, question(rented(), others=others))
    assert found.state is state
    if state is FAILED:
        assert "request-service-quota-increase" in (found.hint or "")


def test_a_bucket_is_written_read_and_left_as_it_was(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    asked = question(rented(), store=StoreChoice(uri=f"file://{folder}"))
    assert preflight_account.bucket(context, asked).state is OK
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert preflight_account.bucket(context, question(rented())).state is SKIPPED


def test_a_bucket_that_cannot_be_written_fails(context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    asked = question(rented(), store=StoreChoice(uri=f"file://{tmp_path}/file/run"))
    assert preflight_account.bucket(context, asked).state in (FAILED, UNKNOWN)


@pytest.mark.parametrize(
    ("today", "cap", "state"),
    [("1.00", None, OK), ("1.20", None, OK), ("1.20", "1.10", FAILED), ("0.50", "1.10", OK), (None, None, FAILED)],
)
def test_the_price_is_read_again(
    today: str | None, cap: str | None, state: CheckState, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(rented())
    budget = replace(asked.plan.spec.budget, max_usd=None if cap is None else Decimal(cap))
    asked = replace(asked, plan=replace(asked.plan, spec=replace(asked.plan.spec, budget=budget)))
    lines = asked.choice.lines
    assert lines == ()
    offers = [] if today is None else [replace(rented(), price_usd_per_hour=Decimal(today), price_age_s=3600.0)]
    monkeypatch.setattr(preflight_account, "read_market", lambda *_: SimpleNamespace(offers=lambda: offers))
    if today is not None and cap is not None:
        dearer = replace(asked.choice, cost_usd=_same(Decimal(today)))
        monkeypatch.setattr(preflight_account, "at_price", lambda *_: dearer)
    found = preflight_account.price(context, asked)
    assert found.state is state
    assert ("over the cap" in found.text) is (state is FAILED and today is not None)


@pytest.mark.parametrize("age_s", [None, preflight_account.OLD_PRICE_S + 1])
def test_an_old_price_is_no_proof_of_todays(
    age_s: float | None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = [replace(rented(), price_age_s=age_s)]
    monkeypatch.setattr(preflight_account, "read_market", lambda *_: SimpleNamespace(offers=lambda: offers))
    found = preflight_account.price(context, question(rented()))
    assert found.state is UNKNOWN
    assert found.hint == "bring today's: `tunefare prices --refresh`"


def _same(amount: Decimal) -> Any:
    from manager.units import MoneyInterval

    return MoneyInterval(low=amount, expected=amount, high=amount)


def failure(at: str | None, code: str | None, message: str) -> TrialFailure:
    return TrialFailure(at=at, code=code, message=message, hint="a hint")


TRIAL = Trial(loss=1.1, step_s=0.2, samples=2, layers=1, has_own_weights=False, changed=("fp32 instead of fp16-mixed",))


@pytest.mark.parametrize(
    ("trial", "state"),
    [
        (TRIAL, OK),
        (failure("data", "data_invalid", "There is no column 'label'."), FAILED),
        (failure("step", "bad_job", "LoRA finds no module."), FAILED),
        (failure("step", "out_of_memory", "Out of memory"), UNKNOWN),
        (failure("step", "internal", "The package 'x' is not installed."), UNKNOWN),
        (failure("model", "model_not_found", "the hub cannot be reached."), UNKNOWN),
        (failure(None, None, "it took longer than 300 s"), UNKNOWN),
    ],
)
def test_a_step_of_the_task(
    trial: Trial | TrialFailure, state: CheckState, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_task, "missing_to_train", lambda: ())
    monkeypatch.setattr(preflight_task, "try_step", lambda *_, **__: trial)
    found = preflight_task.step(context, question(rented()))
    assert found.state is state
    if isinstance(trial, Trial):
        assert "random weights" in found.text
        assert "1 layer of each part" in found.text
        assert "fp32 instead of fp16-mixed" in found.text


def test_a_step_is_left_out_where_there_is_nothing_to_make_it_with(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preflight_task.step(context, question(offer(), is_launch=True)).state is SKIPPED
    monkeypatch.setattr(preflight_task, "missing_to_train", lambda: ("torch",))
    found = preflight_task.step(context, question(rented()))
    assert found.state is SKIPPED
    assert "torch" in found.text


def test_the_disk_holds_what_the_run_writes(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = question(rented(), disks_gib={rented().key: 128})
    assert preflight_task.disk(context, asked).state is OK
    assert preflight_task.disk(context, question(rented())).state is UNKNOWN
    huge = replace(asked, plan=replace(asked.plan, profile=replace(asked.plan.profile, checkpoint_bytes=2**40)))
    assert preflight_task.disk(context, huge).state is FAILED
    assert preflight_task.disk(context, question(offer())).state is OK
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    assert preflight_task.disk(context, question(offer())).state is FAILED


def test_data_that_was_read_or_is_there(context: Context, tmp_path: Path) -> None:
    def about(source: str, sha256: str | None) -> Question:
        asked = question(rented())
        data = replace(asked.plan.profile.data, sha256=sha256)
        spec = replace(asked.plan.spec, data=DataChoice(source=source))
        return replace(asked, plan=replace(asked.plan, spec=spec, profile=replace(asked.plan.profile, data=data)))

    assert preflight_task.data(context, about("d", "abc")).state is OK
    assert preflight_task.data(context, about(str(tmp_path), None)).state is OK
    assert preflight_task.data(context, about("org/set", None)).state is UNKNOWN


def test_checks_come_in_their_order_whatever_one_does(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = question(offer())
    monkeypatch.setattr("manager.service.running.prepare", lambda *_, **__: (asked.request, "local"))

    def says(state: CheckState) -> Callable[[Context, Question], Preflight]:
        return lambda _context, _question: Preflight(name="x", state=state, text="t")

    def breaks(_context: Context, _question: Question) -> Preflight:
        raise StateError("the ledger is gone", hint="look")

    def falls(_context: Context, _question: Question) -> Preflight:
        raise ValueError("what a library raises")

    checks = (("a", says(OK)), ("b", breaks), ("c", falls), ("d", says(FAILED)), ("e", says(SKIPPED)))
    made: Plan = asked.plan
    found = list(preflight(context, made, cap_usd=None, checks=checks))
    assert [one.state for one in found] == [OK, UNKNOWN, UNKNOWN, FAILED, SKIPPED]
    assert found[1].text == "the ledger is gone"
    assert "what a library raises" in found[2].text
    assert preflight_to_json(found[1]) == {
        "name": "b",
        "state": "unknown",
        "text": "the ledger is gone",
        "hint": "look",
    }
    with pytest.raises(UsageError, match="x failed before anything cost"):
        check_launch(found)
    check_launch(found[:3])


class Sts:
    """What STS of boto3 says, or raises."""

    def __init__(self, says: Any) -> None:
        self._says = says

    def client(self, service: str, **_: Any) -> Sts:
        assert service == "sts"
        return self

    def get_caller_identity(self) -> dict[str, Any]:
        if isinstance(self._says, Exception):
            raise self._says
        return {"Arn": self._says}


def test_what_aws_says_of_credentials() -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

    def asked(says: Any) -> Identity:
        return AwsAsker(session=Sts(says), limit_s=5.0).identity("us-east-1")

    assert asked("arn:aws:iam::1:user/me") == Identity(arn="arn:aws:iam::1:user/me")
    for error in (
        NoCredentialsError(),
        ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "GetCallerIdentity"),
    ):
        found = asked(error)
        assert (found.arn, found.is_refused) == (None, True)
        assert found.reason
    for error in (
        EndpointConnectionError(endpoint_url="https://sts"),
        ClientError({"Error": {"Code": "Throttling", "Message": ""}}, "GetCallerIdentity"),
    ):
        assert not asked(error).is_refused
