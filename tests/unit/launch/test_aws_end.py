"""The end of a run on AWS: SkyPilot plays along, hangs or has lost sight of the machine; moto plays AWS itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError
from manager.launch.aws_end import regions_of, was_on_aws
from manager.launch.aws_inventory import AwsInventory
from manager.launch.engine import Handle
from manager.launch.inventory import Found
from manager.launch.sky_attempt import begin_attempt, keep_provider, read_attempt
from tests.support.aws_account import AwsAccount
from tests.support.sky_stage import NOBODY_ASKED, SilentAws, Stage, offer

EAST, WEST = "us-east-1", "us-west-2"
RUN = "demo-1"


@pytest.fixture
def on_aws(tmp_path: Path, account: AwsAccount) -> Iterator[Stage]:
    stage = Stage(tmp_path, aws=AwsInventory())
    stage.play(evidence=[{"result": NOBODY_ASKED}])
    yield stage
    stage.engine.close()


def launched(stage: Stage, *regions: str) -> Handle:
    """As a launch leaves it: SkyPilot was asked for these regions, one after the other."""
    handle = stage.handle()
    for region in regions:
        begin_attempt(Path(handle.run_dir), offer("g5.xlarge", cloud="aws", region=region))
    return handle


def test_nothing_left_is_confirmed_by_aws_itself(on_aws: Stage, account: AwsAccount) -> None:
    account.machine(EAST, run_id="another-run")
    evidence = on_aws.engine.evidence(launched(on_aws, EAST))
    assert evidence.confirmed
    assert "AWS itself reports no instance, volume, address or spot request of the run" in evidence.answer
    assert "DescribeInstances, DescribeVolumes, DescribeAddresses" in evidence.source


def test_what_aws_does_not_tell_of_confirms_nothing_and_keeps_no_machine_alive(
    on_aws: Stage, account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutAddresses(AwsInventory):
        def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
            found = super().find(regions, run_id=run_id)
            return Found(items=found.items, silent={"aws us-east-1 addresses": "no permission"})

    monkeypatch.setattr(on_aws.engine, "_aws", WithoutAddresses())
    machine = account.machine(EAST, run_id=RUN)
    handle = launched(on_aws, EAST)
    assert f"aws us-east-1 {machine} (running)" in on_aws.engine.evidence(handle).left
    on_aws.engine.down(handle)
    on_aws.engine.down(handle)
    assert account.state(EAST, machine) == "terminated"
    after = on_aws.engine.evidence(handle)
    assert (after.confirmed, after.left) == (False, ())
    assert "aws us-east-1 addresses did not answer: no permission" in after.answer


def test_what_skypilot_has_lost_sight_of_is_told_and_ended(on_aws: Stage, account: AwsAccount) -> None:
    machine, other = account.machine(EAST, run_id=RUN), account.machine(EAST, run_id="another-run")
    account.address(EAST, run_id=RUN)
    handle = launched(on_aws, EAST)
    before = on_aws.engine.evidence(handle)
    assert not before.confirmed
    assert "AWS itself reports 1 address, 1 instance, 1 volume" in before.answer
    assert f"aws us-east-1 {machine} (running)" in before.left
    on_aws.engine.down(handle)
    on_aws.engine.down(handle)  # The disk is free when its machine has gone.
    assert on_aws.engine.evidence(handle).confirmed
    assert account.state(EAST, machine) == "terminated"
    assert account.state(EAST, other) == "running"


def test_a_region_that_was_given_up_is_asked_too(on_aws: Stage, account: AwsAccount) -> None:
    machine = account.machine(WEST, run_id=RUN)
    handle = launched(on_aws, WEST, EAST)
    (left, _) = on_aws.engine.evidence(handle).left
    assert left == f"aws us-west-2 {machine} (running)"
    on_aws.engine.down(handle)
    assert account.state(WEST, machine) == "terminated"


def test_a_run_of_any_region_is_looked_for_in_all(on_aws: Stage, account: AwsAccount) -> None:
    machine = account.machine(WEST, run_id=RUN)
    handle = on_aws.handle()
    begin_attempt(Path(handle.run_dir), offer("g5.xlarge", cloud="aws", region=None))
    assert f"aws us-west-2 {machine} (running)" in on_aws.engine.evidence(handle).left


@pytest.mark.parametrize("move", [{"error": ["RuntimeError", "the API server is gone"]}, {"die": True}])
def test_where_skypilot_fails_aws_is_asked_for_the_end(
    on_aws: Stage, account: AwsAccount, move: dict[str, Any]
) -> None:
    machine = account.machine(EAST, run_id=RUN)
    on_aws.play(down=[move], evidence=[{"error": ["RuntimeError", "the API server is gone"]}])
    handle = launched(on_aws, EAST)
    on_aws.engine.down(handle)
    assert account.state(EAST, machine) == "terminated"
    # SkyPilot may still be launching for all that is known.
    evidence = on_aws.engine.evidence(handle)
    assert not evidence.confirmed
    assert "AWS itself reports no instance" in evidence.answer


def test_where_results_were_not_waited_for_aws_is_asked_before_skypilot(
    on_aws: Stage, account: AwsAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.launch.sky_worker._LET_GO_S", 0.2)
    machine = account.machine(EAST, run_id=RUN)
    on_aws.play(fetch=[{"hang": True}])
    handle = launched(on_aws, EAST)

    def fetch() -> None:
        with suppress(EngineError):
            on_aws.engine.fetch(handle)

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    while not (on_aws.folder / "calls.jsonl").exists():
        fetching.join(0.05)
    asked_before: list[str] = []
    monkeypatch.setattr(on_aws.engine, "_take_down", lambda _: asked_before.append(account.state(EAST, machine)))
    on_aws.engine.down(handle)
    assert asked_before == ["terminated"]


def test_an_aws_that_does_not_answer_leaves_the_end_unconfirmed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, aws=SilentAws())
    stage.play(evidence=[{"result": NOBODY_ASKED}], down=[{"error": ["RuntimeError", "gone"]}])
    handle = launched(stage, EAST)
    with pytest.raises(EngineError, match="could not be taken down"):
        stage.engine.down(handle)
    evidence = stage.engine.evidence(handle)
    stage.engine.close()
    assert not evidence.confirmed
    assert "aws us-east-1 did not answer: no AWS credentials" in evidence.answer


def test_half_an_answer_confirms_nothing(tmp_path: Path) -> None:
    class Half(SilentAws):
        def find(self, regions: Any, *, run_id: str | None = None) -> Found:
            return Found(silent={"aws us-west-2": "no answer within 30 s"})

    stage = Stage(tmp_path, aws=Half())
    stage.play(evidence=[{"result": NOBODY_ASKED}])
    evidence = stage.engine.evidence(launched(stage, EAST, WEST))
    stage.engine.close()
    assert not evidence.confirmed


def test_a_run_that_was_never_on_aws_does_not_ask_it(tmp_path: Path) -> None:
    begin_attempt(tmp_path, offer("a100"))
    assert not was_on_aws(read_attempt(tmp_path))
    assert not was_on_aws(None)


def test_regions_of_all_attempts_are_kept(tmp_path: Path) -> None:
    for cloud, region in (("aws", WEST), ("slurm", "lab"), ("aws", EAST), ("aws", WEST)):
        begin_attempt(tmp_path, offer("m", cloud=cloud, region=region))
    attempt = read_attempt(tmp_path)
    assert attempt is not None
    assert regions_of(attempt) == (EAST, WEST)
    begin_attempt(tmp_path, offer("m", cloud="aws", region=None))
    keep_provider(tmp_path, {"name": "aws", "name_on_cloud": "tf", "config": {"region": "eu-west-1"}})
    attempt = read_attempt(tmp_path)
    assert attempt is not None
    assert regions_of(attempt) == (EAST, WEST, "eu-west-1")
