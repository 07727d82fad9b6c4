"""`tunefare quota` as it is typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from manager.cli.main import main
from manager.prices.quota import AllowedMachine, Quota
from manager.service import quota as service
from manager.service.quota import QuotaLine, QuotaReport


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tunefare", "quota", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def line(
    name: str, limit: float | None, *, reason: str | None = None, machines: tuple[AllowedMachine, ...] = ()
) -> QuotaLine:
    quota = Quota(
        cloud="aws",
        region="us-east-1",
        code="L-417A185B" if reason is None else "",
        name=name,
        use_spot=False,
        covers=("P",),
        unit="vCPUs",
        limit=limit,
        is_default=limit == 0,
        as_of_s=1.0,
        reason=reason,
    )
    return QuotaLine(
        quota=quota, machines=machines, request_url="https://page", request_command="aws ask --quota-code L-417A185B"
    )


P4D = AllowedMachine(instance_type="p4d.24xlarge", accelerator="A100", accelerator_count=8, machines=2)


def staged(monkeypatch: pytest.MonkeyPatch, *lines: QuotaLine) -> None:
    monkeypatch.setattr(service, "quota_report", lambda *_, **__: QuotaReport(lines=lines, notes=("a note",)))


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    staged(
        monkeypatch,
        line("Running On-Demand P instances", 192.0, machines=(P4D,)),
        line("Running On-Demand Trn instances", 0.0),
    )
    assert run(monkeypatch) == 0
    said = capsys.readouterr()
    rows = [" ".join(row.split()) for row in said.out.splitlines()]
    assert rows[1] == (
        "192 vCPUs ? aws us-east-1 on demand Running On-Demand P instances (L-417A185B) 2 of 8 x A100 (p4d.24xlarge)"
    )
    assert rows[2].startswith("0 vCPUs, default")
    assert rows[2].endswith("no machine with an accelerator")
    assert "aws ask --quota-code L-417A185B" in said.out
    assert said.err == "asking the clouds for quotas ...\n"


def test_unknown_has_its_reason_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    staged(monkeypatch, line("all", None, reason="no AWS credentials"), line("all", None, reason="no AWS credentials"))
    assert run(monkeypatch) == 0
    assert capsys.readouterr().out.strip() == "unknown: aws us-east-1: no AWS credentials"


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    staged(monkeypatch, line("Running On-Demand P instances", 192.0, machines=(P4D,)), line("all", None, reason="late"))
    assert run(monkeypatch, "--json") == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert [(one["limit"], one["unknown_because"]) for one in answer["quotas"]] == [(192.0, None), (None, "late")]
    assert answer["quotas"][0]["machines"][0]["machines"] == 2
    assert said.err == ""


def test_a_cloud_without_quotas_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--clouds", "lambda") == 2
    assert "hint: " in capsys.readouterr().err
