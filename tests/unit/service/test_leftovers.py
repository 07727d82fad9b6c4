"""What outlived its run: whose it is, what it costs, and its removal; moto plays AWS, the rest is played here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import EngineError, UsageError
from manager.launch.bucket_folders import find_folders, remove_folder
from manager.launch.inventory import Found, Rented, RentedKind
from manager.launch.render import cluster_name
from manager.launch.sky_attempt import begin_attempt
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.leftover_ends import find_one, reconcile_providers, remove_leftover
from manager.service.leftover_places import known_runs
from manager.service.leftover_words import partial_words, standing_words, total_words
from manager.service.leftovers import Askers, find_leftovers, leftovers_of
from manager.service.leftovers_report import Leftovers, Standing, leftovers_to_json
from tests.support.aws_account import AwsAccount
from tests.support.contexts import make_context
from tests.support.leftover_stage import EAST, G5, LIVING, LOST, OVER, EastAws, Played, keep, know_user, over
from tests.support.sky_stage import SilentAws


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


def by_id(found: Leftovers) -> dict[str, Standing]:
    return {item.rented.id: item.standing for item in found.items}


def test_whose_a_machine_is(context: Context, account: AwsAccount) -> None:
    over(context)
    keep(context, LIVING, RunState.LAUNCHING, RunState.RUNNING)
    know_user(context)
    ids = {run: account.machine(EAST, run_id=run) for run in (OVER, LIVING, LOST)}
    foreign = account.machine(EAST, run_id="theirs", user="colleague", user_hash="99999999")
    account.machine(EAST, run_id=None)
    found = find_leftovers(context, askers=Played().askers())
    machines = {item.rented.id: item.standing for item in found.items if item.rented.kind is RentedKind.INSTANCE}
    assert machines == {
        ids[OVER]: Standing.ORPHAN,
        ids[LIVING]: Standing.LIVING,
        ids[LOST]: Standing.UNKNOWN_RUN,
        foreign: Standing.FOREIGN,
    }
    assert {item.rented.id for item in found.machines_without_run} == {ids[OVER], ids[LOST]}
    assert {item.rented.id for item in found.items[:2]} == {ids[OVER], ids[LOST]}
    prices = {item.rented.run_id: item.rented.usd_per_month for item in found.items if item.rented.id in machines}
    assert prices == {OVER: Decimal("730.00"), LIVING: Decimal("730.00"), LOST: None, "theirs": None}
    assert total_words(found.items) == "8 things, $1,462.56/month and 2 of unknown price"
    told = {item.rented.id: standing_words(item) for item in found.items}
    assert told[ids[OVER]] == "OVER: run succeeded"
    assert told[foreign] == "of colleague"
    assert found.silent == {}
    assert found.not_asked == {}


def test_without_the_own_hash_an_unknown_run_is_nobodys(context: Context, account: AwsAccount) -> None:
    over(context)
    machine = account.machine(EAST, run_id=LOST)
    found = find_leftovers(context, askers=Played().askers())
    assert by_id(found)[machine] is Standing.FOREIGN
    with pytest.raises(UsageError, match="not touched") as caught:
        find_one(found, machine)
    assert caught.value.hint == (
        f"if you are sure, type: aws ec2 terminate-instances --region us-east-1 --instance-ids {machine}"
    )


@pytest.mark.parametrize(
    ("states", "hint"),
    [
        ((RunState.LAUNCHING, RunState.RUNNING), f"tunefare stop {LIVING}"),
        ((RunState.LAUNCHING, RunState.TEARING_DOWN, RunState.UNCONFIRMED), f"tunefare reconcile {LIVING}"),
        ((), f"tunefare stop {LIVING}"),
    ],
)
def test_what_belongs_to_a_living_run_is_not_removed(
    context: Context, account: AwsAccount, states: tuple[RunState, ...], hint: str
) -> None:
    keep(context, LIVING, *states)
    machine = account.machine(EAST, run_id=LIVING)
    found = find_leftovers(context, askers=Played().askers())
    with pytest.raises(UsageError, match=f"belongs to {LIVING}") as caught:
        find_one(found, machine)
    assert hint in (caught.value.hint or "")
    assert account.state(EAST, machine) == "running"


def test_a_run_that_has_begun_since_the_question_keeps_its_machine(context: Context, account: AwsAccount) -> None:
    over(context)
    know_user(context)
    machine = account.machine(EAST, run_id=LIVING)
    played = Played()
    item = find_one(find_leftovers(context, askers=played.askers()), machine)
    keep(context, LIVING, RunState.LAUNCHING)
    removal = remove_leftover(context, item, askers=played.askers(), limit_s=0.0)
    assert not removal.is_gone
    assert removal.told == "its run is launching now"
    assert account.state(EAST, machine) == "running"


def test_a_machine_and_then_its_disk_are_removed_and_the_answers_kept(context: Context, account: AwsAccount) -> None:
    over(context)
    machine = account.machine(EAST, run_id=OVER, disk_gib=100)
    played = Played()
    removal = remove_leftover(
        context, find_one(find_leftovers(context, askers=played.askers()), machine), askers=played.askers()
    )
    assert removal.is_gone
    assert removal.commands == ()
    (disk,) = find_leftovers(context, askers=played.askers()).items
    assert (disk.rented.kind, disk.rented.usd_per_month) == (RentedKind.VOLUME, Decimal("8.00"))
    assert remove_leftover(context, disk, askers=played.askers()).is_gone
    assert find_leftovers(context, askers=played.askers()).items == ()
    with open_ledger(context) as ledger:
        kept = ledger.run(OVER).evidence
    assert [(one.confirmed, one.source) for one in kept] == [(True, "aws us-east-1, after the run")] * 2
    assert machine in kept[0].answer


def test_a_removal_that_the_provider_does_not_confirm_is_told_with_its_command(
    context: Context, account: AwsAccount
) -> None:
    class Stubborn(EastAws):
        def remove(self, item: Rented) -> None:
            """Says yes, does nothing."""

    over(context)
    machine = account.machine(EAST, run_id=OVER)
    played = Played(aws=Stubborn())
    item = find_one(find_leftovers(context, askers=played.askers()), machine)
    removal = remove_leftover(context, item, askers=played.askers(), limit_s=0.0)
    assert (removal.is_gone, removal.told) == (False, "aws us-east-1 still has it")
    assert removal.commands == (f"aws ec2 terminate-instances --region us-east-1 --instance-ids {machine}",)
    with open_ledger(context) as ledger:
        assert ledger.run(OVER).evidence[-1].left == (f"aws us-east-1 {machine} (running)",)


def test_a_provider_that_refuses_is_not_confirmed(context: Context, account: AwsAccount) -> None:
    class Refusing(EastAws):
        def remove(self, item: Rented) -> None:
            raise EngineError("no permission")

    over(context)
    machine = account.machine(EAST, run_id=OVER)
    played = Played(aws=Refusing())
    item = find_one(find_leftovers(context, askers=played.askers()), machine)
    assert remove_leftover(context, item, askers=played.askers()).told == "no permission"


def test_reconcile_ends_what_the_ledger_says_is_over_and_with_end_what_it_does_not_have(
    context: Context, account: AwsAccount
) -> None:
    over(context)
    keep(context, LIVING, RunState.LAUNCHING, RunState.RUNNING)
    know_user(context)
    ids = {run: account.machine(EAST, run_id=run) for run in (OVER, LIVING, LOST)}
    foreign = account.machine(EAST, run_id="theirs", user_hash="99999999")
    played, told = Played(), list[str]()
    found, removals = reconcile_providers(context, end=False, askers=played.askers(), tell=told.append)
    assert len(found.machines_without_run) == 2
    assert [removal.leftover.rented.id for removal in removals] == [ids[OVER]]
    assert told == [f"aws us-east-1 {ids[OVER]} (running) of {OVER}: gone"]
    assert account.state(EAST, ids[LOST]) == "running"
    _, removals = reconcile_providers(context, end=True, askers=played.askers())
    assert [removal.leftover.rented.id for removal in removals] == [ids[LOST]]
    states = {run: account.state(EAST, machine) for run, machine in ids.items()}
    assert states == {OVER: "terminated", LIVING: "running", LOST: "terminated"}
    assert account.state(EAST, foreign) == "running"


def test_nobody_is_asked_where_nothing_ever_ran(context: Context) -> None:
    found = find_leftovers(context, askers=Askers(aws=SilentAws(), clusters=lambda: pytest.fail("asked")))
    assert (found.items, found.asked, found.silent) == ((), (), {})
    assert partial_words(found) == [
        "aws was not asked: no run was there and no credentials are set",
        "skypilot was not asked: no run was launched through it",
    ]


def test_an_aws_that_does_not_answer_is_told_and_not_taken_for_empty(context: Context) -> None:
    over(context)
    found = find_leftovers(context, askers=replace(Played().askers(), aws=SilentAws()))
    assert found.items == ()
    assert found.silent_of_runs == ("aws us-east-1", "aws")
    assert partial_words(found) == [
        "no answer from aws us-east-1: no AWS credentials",
        "no answer from aws: which regions are enabled is unknown: no AWS credentials",
    ]
    with pytest.raises(UsageError, match="aws us-east-1, aws did not answer"):
        find_one(found, "i-1")


def test_a_kind_that_aws_does_not_tell_of_is_told_and_hides_no_machine(context: Context, account: AwsAccount) -> None:
    class WithoutAddresses(EastAws):
        def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
            silent = {f"aws {region} addresses": "no permission" for region in ("us-west-2", EAST)}
            return replace(super().find(regions, run_id=run_id), silent=silent)

    over(context)
    machine = account.machine(EAST, run_id=OVER)
    found = find_leftovers(context, askers=Played(aws=WithoutAddresses()).askers())
    assert machine in {item.rented.id for item in found.machines_without_run}
    assert found.silent_of_runs == ("aws us-east-1 addresses",)


def cluster(cloud: str, state: str = "UP", run_id: str = OVER) -> Rented:
    return Rented(
        kind=RentedKind.CLUSTER,
        cloud=cloud,
        region="r",
        id=f"tf-{run_id}",
        name="1x a2-highgpu-1g",
        state=state,
        run_id=run_id,
        created_at_s=None,
        usd_per_month=Decimal(2000),
        remove_command=f"sky down tf-{run_id}",
    )


def test_clusters_of_other_clouds_come_from_skypilot_and_those_of_aws_only_where_it_is_silent(
    context: Context, account: AwsAccount
) -> None:
    over(context)
    played = Played(clusters=[cluster("gcp"), cluster("aws")])
    assert [item.rented.cloud for item in find_leftovers(context, askers=played.askers()).items] == ["gcp"]
    silent = replace(played.askers(), aws=SilentAws())
    assert [item.rented.cloud for item in find_leftovers(context, askers=silent).items] == ["gcp", "aws"]
    assert [i.rented.cloud for i in find_leftovers(context, clouds=["GCP"], askers=silent).items] == ["gcp"]


LONG = "sentiment-bert-base-1122-a-long-name"


@pytest.mark.parametrize("run_id", [OVER, LONG])
@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.RUNNING])
def test_a_managed_job_without_a_tag_is_its_runs_also_where_its_name_is_shortened(
    context: Context, run_id: str, state: RunState
) -> None:
    states = [RunState.LAUNCHING, RunState.RUNNING]
    keep(context, run_id, *(states if state in states else [RunState.LAUNCHING, RunState.TEARING_DOWN, state]))
    name = cluster_name(run_id)
    jobs = [replace(cluster("skypilot"), id=one, name="managed job", run_id=None) for one in (name, "tf-nobodys-1")]
    askers = replace(Played(clusters=jobs).askers(), aws=SilentAws())
    ours, nobodys = sorted(find_leftovers(context, askers=askers).items, key=lambda item: item.rented.id != name)
    expected = Standing.LIVING if state is RunState.RUNNING else Standing.ORPHAN
    assert (ours.rented.run_id, ours.standing) == (run_id, expected)
    assert (nobodys.rented.run_id, nobodys.standing) == (None, Standing.UNKNOWN_RUN)


def test_without_a_ledger_a_job_is_known_by_the_folder_of_its_run(context: Context) -> None:
    begin_attempt(context.home.runs_dir / LONG, G5)
    job = replace(cluster("skypilot"), id=cluster_name(LONG), name="managed job", run_id=None)
    context.home.ledger_file.write_bytes(b"no ledger")
    runs = known_runs(context)
    assert runs.ledger_error is not None
    askers = replace(Played(clusters=[job]).askers(), aws=SilentAws())
    (item,) = leftovers_of(context, runs, machines_only=True, askers=askers).items
    assert item.rented.run_id == LONG


def bucket(context: Context, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with folders of a run that is over, of one that lives, and of somebody."""
    uri = "s3://a-bucket/runs"
    keep(context, LIVING, RunState.LAUNCHING, RunState.RUNNING)
    over(context)
    (context.home.runs_dir / OVER / "upload").mkdir()
    # Also of a run of another version, whose job file this one cannot read.
    job = {"schema": 0, "store": {"uri": f"{uri}/{OVER}"}}
    (context.home.runs_dir / OVER / "upload" / "job.json").write_text(json.dumps(job))
    return uri


def test_folders_in_buckets_have_a_price_and_can_be_removed(
    context: Context, account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket(context, monkeypatch)
    s3 = account.client(EAST, "s3")
    s3.create_bucket(Bucket="a-bucket")
    mine = (f"runs/{OVER}/events/0-1.jsonl", f"runs/{OVER}/checkpoints/step-1/m.safetensors")
    theirs = (f"runs/{LIVING}/events/0-1.jsonl", "runs/somebody/notes.txt", f"{OVER}/other.txt")
    for key in (*mine, *theirs):
        s3.put_object(Bucket="a-bucket", Key=key, Body=b"x" * 2**20)
    askers = replace(Played().askers(), folders=find_folders, remove_folder=remove_folder)
    found = find_leftovers(context, askers=askers)
    assert by_id(found) == {f"{uri}/{OVER}": Standing.ORPHAN, f"{uri}/{LIVING}": Standing.LIVING}
    folder = find_one(found, f"{uri}/{OVER}")
    assert (folder.rented.name, folder.rented.region) == ("0.00195 GiB in 2 objects", EAST)
    assert folder.rented.usd_per_month == Decimal(2) / 1024 * Decimal("0.023")
    assert folder.rented.remove_command == f"aws s3 rm --recursive {uri}/{OVER}/"
    assert remove_leftover(context, folder, askers=askers).is_gone
    left: Sequence[str] = [entry["Key"] for entry in s3.list_objects_v2(Bucket="a-bucket")["Contents"]]
    assert sorted(left) == sorted(theirs)


def test_staged_data_are_listed_with_their_price_and_removed_when_no_run_is_on(
    context: Context, account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket(context, monkeypatch)
    s3 = account.client(EAST, "s3")
    s3.create_bucket(Bucket="a-bucket")
    sha256 = "ab" * 32
    for name in (f"runs/data/{sha256}/data.csv", f"runs/data/{sha256}/complete.json", "runs/data/notes.txt"):
        s3.put_object(Bucket="a-bucket", Key=name, Body=b"x" * 2**20)
    askers = replace(Played().askers(), folders=find_folders, remove_folder=remove_folder)
    found = find_leftovers(context, askers=askers)
    folder = f"{uri}/data/{sha256}"
    assert by_id(found) == {folder: Standing.LIVING}
    with pytest.raises(UsageError, match="a run that is on"):
        find_one(found, folder)
    (item,) = found.items
    assert (item.rented.kind, item.rented.run_id) == (RentedKind.DATA, None)
    assert item.rented.usd_per_month == Decimal(2) / 1024 * Decimal("0.023")
    kept = replace(item, standing=Standing.KEPT)
    assert kept.may_be_removed
    assert not kept.is_machine_without_run
    assert remove_leftover(context, kept, askers=askers).is_gone
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="a-bucket")["Contents"]] == ["runs/data/notes.txt"]


def test_a_bucket_that_does_not_answer_is_silent(account: AwsAccount) -> None:
    found = find_folders(["s3://not-there/runs", "file:///somewhere"], [OVER], limit_s=20.0)
    assert found.items == ()
    assert list(found.silent) == ["s3://not-there/runs"]


def test_json_holds_every_thing_with_its_standing(context: Context, account: AwsAccount) -> None:
    over(context)
    account.machine(EAST, run_id=OVER)
    told = json.loads(json.dumps(leftovers_to_json(find_leftovers(context, askers=Played().askers()))))
    assert (told["schema"], told["type"], told["asked"]) == (1, "leftovers", ["aws", "skypilot"])
    assert [(item["kind"], item["standing"], item["run_state"]) for item in told["items"]] == [
        ("instance", "orphan", "succeeded"),
        ("volume", "orphan", "succeeded"),
    ]
    assert told["items"][1]["usd_per_month"] == 0.64
    assert told["known_usd_per_month"] == 730.64
