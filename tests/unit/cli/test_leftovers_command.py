"""`tunefare leftovers` as it is typed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.launch.engine import Evidence
from manager.launch.inventory import Rented, RentedKind
from manager.runs.states import RunState
from manager.service import leftover_ends, leftovers
from manager.service.leftover_ends import Removal
from manager.service.leftovers_report import Leftover, Leftovers, Standing
from tests.support.in_process import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("COLUMNS", "160")
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def thing(kind: RentedKind, thing_id: str, usd: str | None, standing: Standing = Standing.ORPHAN) -> Leftover:
    rented = Rented(
        kind=kind,
        cloud="aws",
        region="us-east-1",
        id=thing_id,
        name="100 GiB gp3" if kind is RentedKind.VOLUME else "g5.xlarge",
        state="available",
        run_id="over-1",
        created_at_s=None,
        usd_per_month=None if usd is None else Decimal(usd),
        remove_command=f"aws ec2 end {thing_id}",
    )
    return Leftover(rented=rented, standing=standing, run_state=RunState.SUCCEEDED)


DISK = thing(RentedKind.VOLUME, "vol-1", "8")
MACHINE = thing(RentedKind.INSTANCE, "i-1", None)


def staged(
    monkeypatch: pytest.MonkeyPatch,
    *items: Leftover,
    gone: bool = True,
    silent_of_runs: tuple[str, ...] = (),
    ledger_error: StateError | None = None,
) -> list[str]:
    """Leftovers that are found; the ids that are removed."""
    found = Leftovers(
        items=items,
        asked=("aws",),
        not_asked={"skypilot": "no run was launched through it"},
        silent={"aws us-west-2": "no answer within 30 s", "aws eu-west-1": "no answer within 30 s"},
        silent_of_runs=silent_of_runs,
        prices_as_of="2026-11-22",
    )
    removed: list[str] = []

    def remove(_context: object, item: Leftover) -> Removal:
        removed.append(item.rented.id)
        commands = () if gone else (item.rented.remove_command,)
        evidence = Evidence(confirmed=gone, asked_at_s=1.0, source="played", answer="as played", left=())
        return Removal(leftover=item, is_gone=gone, told="as played", commands=commands, evidence=evidence)

    monkeypatch.setattr(leftovers, "find_leftovers_anyway", lambda *_, **__: (found, ledger_error))
    monkeypatch.setattr(leftover_ends, "remove_leftover", remove)
    return removed


def test_disks_are_listed_with_their_price_and_what_did_not_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(monkeypatch, DISK)
    done = shell.run("leftovers")
    assert done.code == 0
    assert "volume: 100 GiB gp3" in done.stdout
    assert "over-1: OVER: run succeeded" in done.stdout
    assert "1 thing, $8.00/month; disks, addresses and buckets at list prices of 2026-11-22" in done.stdout
    assert "no answer from aws us-west-2, aws eu-west-1: no answer within 30 s" in done.stderr
    assert "skypilot was not asked: no run was launched through it" in done.stderr


def test_a_machine_without_a_run_is_loud(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    staged(monkeypatch, MACHINE, DISK)
    done = shell.run("leftovers", "--json")
    assert done.code == 5
    assert "machines without a living run, which ARE BILLED: i-1 (aws us-east-1)" in done.stderr
    told = json.loads(done.stdout)
    assert [item["id"] for item in told["items"]] == ["i-1", "vol-1"]
    assert (told["items"][0]["usd_per_month"], told["unknown_prices"]) == (None, 1)
    assert set(told["silent"]) == {"aws us-west-2", "aws eu-west-1"}


def test_nothing_is_removed_without_a_yes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = staged(monkeypatch, DISK)
    done = shell.run("leftovers", "--remove", "vol-1")
    assert done.code == 2
    assert "hint: add --yes" in done.stderr
    assert removed == []


def test_a_thing_is_removed_by_its_id(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = staged(monkeypatch, DISK)
    done = shell.run("leftovers", "--remove", "vol-1", "--yes")
    assert (done.code, done.stdout) == (0, "vol-1  GONE: as played\n")
    assert removed == ["vol-1"]


def test_a_removal_without_proof_is_loud_with_what_to_type(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    staged(monkeypatch, DISK, gone=False)
    done = shell.run("leftovers", "--remove", "vol-1", "--yes")
    assert done.code == 5
    assert done.stdout == "vol-1  NOT CONFIRMED: as played\n    aws ec2 end vol-1\n"


def test_an_id_that_is_not_there_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = staged(monkeypatch, DISK)
    done = shell.run("leftovers", "--remove", "vol-2", "--yes")
    assert done.code == 2
    assert "has the id 'vol-2'; aws us-west-2, aws eu-west-1 did not answer; not asked: skypilot" in (done.stderr)
    assert removed == []


def test_a_fresh_home_asks_nobody(shell: Shell) -> None:
    done = shell.run("leftovers")
    assert (done.code, done.stdout) == (0, "nobody was asked\n")


def test_a_place_of_runs_that_does_not_answer_is_not_taken_for_empty(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(monkeypatch, silent_of_runs=("aws us-west-2",))
    done = shell.run("leftovers")
    assert done.code == 1
    assert "nothing was found under the tag of a run (aws); but not everybody answered" in done.stdout
    assert "aws us-west-2 did not answer: what is there is unknown" in done.stderr


def test_a_ledger_that_does_not_answer_keeps_nobody_from_asking_the_providers(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = staged(monkeypatch, DISK, ledger_error=StateError("the ledger does not answer", hint="start it"))
    done = shell.run("leftovers")
    assert done.code == 1
    assert "volume: 100 GiB gp3" in done.stdout
    assert "the ledger does not answer" in done.stderr
    assert shell.run("leftovers", "--remove", "vol-1", "--yes").code == 1
    assert removed == []


def test_a_cloud_that_is_misspelt_is_refused(shell: Shell) -> None:
    done = shell.run("leftovers", "--clouds", "azw")
    assert done.code == 2
    assert "there is no cloud `azw`" in done.stderr
