"""`tunefare prices` as it is typed: tables, JSON, what goes to which stream, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.cli import prices_command
from manager.cli.main import main
from manager.paths import Home
from manager.prices.history import PriceHistory
from manager.prices.price_rules import RULES
from manager.service import price_refresh
from manager.service.price_refresh import FAILED, UPDATED, Refreshed
from tests.support.price_stage import HEADER, write_catalog

AWS = f"""{HEADER}
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.40,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.08,eu-west-1,euw1-az1,x86_64
p5.48xlarge,H100,8.0,192.0,2048.0,,nan,30.00,us-east-1,use1-az1,x86_64
m7i.xlarge,,,4.0,16.0,,0.20,,us-east-1,use1-az1,x86_64
"""
KEY = "aws/us-east-1/g6.xlarge/L4:1/spot"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("COLUMNS", "160")
    write_catalog(tmp_path / "catalogs", "aws", AWS)


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> int:
    """The exit code of the command, on the catalogs of this test."""
    given = ["tunefare", "prices", "--catalogs", str(tmp_path / "catalogs"), *arguments]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, tmp_path, "--clouds", "aws") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == [
        "$/h",
        "each",
        "$/h",
        "spot",
        "$/h",
        "spot",
        "%",
        "accelerator",
        "memory",
        "machine",
        "age",
        "remarks",
    ]
    first = " ".join(lines[1].split())
    assert first.startswith("$0.080 $0.80 $0.080 10% 1 x L4 22.35GiB aws eu-west-1 g6.xlarge")
    assert "spot is a tenth" in first
    assert " ".join(lines[3].split()).startswith("$3.75 unknown $30.00 8 x H100")
    assert f"spot is a tenth: {RULES['spot_is_a_tenth']}" in said.out
    assert "note: prices of 1 clouds" in said.out
    assert said.err == ""


def test_narrow_terminal_keeps_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert run(monkeypatch, tmp_path, "--clouds", "aws", "--gpus", "L4", "--top", "1") == 0
    said = capsys.readouterr().out
    assert "$0.080" in said
    assert "remarks" not in said
    assert "... and 1 more: --top 2" in said


def test_no_spot_has_no_spot_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "--clouds", "aws", "--no-spot") == 0
    assert "spot" not in capsys.readouterr().out.splitlines()[0]


def test_json_has_every_row_and_every_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "--clouds", "aws", "--json", "--sort", "spot") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["rows_total"], len(answer["rows"])) == (1, 4, 4)
    first = answer["rows"][0]
    assert first["spot_key"] == "aws/eu-west-1/g6.xlarge/L4:1/spot"
    assert (first["on_demand_usd_per_hour"], first["spot_usd_per_hour"], first["spot_share"]) == (0.8, 0.08, 0.1)
    assert answer["rows"][-1]["spot_usd_per_hour"] is None


def test_nothing_offered_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "--max-usd-per-hour", "0.0001", "--clouds", "aws") == 0
    assert "no machine is offered so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpus", "L44"), "did you mean `L4`"),
        (("--sort", "cheap"), "gpu-price, price, memory, spot"),
        (("--max-usd-per-hour", "much"), "not an amount in dollars"),
        (("--max-usd-per-hour", "-1"), "above 0"),
        (("--audit", "--refresh"), "ask one of them"),
        (("--history", "L4"), "no history of prices yet"),
    ],
)
def test_errors_have_a_hint_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    assert run(monkeypatch, tmp_path, *arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "hint: " in said.err
    assert said.out == ""


def test_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, tmp_path, "--audit") == 0
    said = capsys.readouterr().out
    assert RULES["unknown_price"] in said
    assert run(monkeypatch, tmp_path, "--audit", "--json") == 0
    audit = json.loads(capsys.readouterr().out)["audit"]
    assert {"cloud": "aws", "rule": "unknown_price", "meaning": RULES["unknown_price"], "count": 1} in audit


def filled_history(tmp_path: Path) -> None:
    with PriceHistory(Home(root=tmp_path / "home").price_history_file) as history:
        for day, usd in ((1, "0.40"), (2, "0.50"), (3, "0.45")):
            history.record("aws", {KEY: Decimal(usd), "aws/other": Decimal(1)}, as_of_s=1_800_000_000.0 + day * 86_400)


def test_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    filled_history(tmp_path)
    assert run(monkeypatch, tmp_path, "--history", "G6.xlarge") == 0
    said = capsys.readouterr().out
    assert KEY in said
    rows = [" ".join(line.split()) for line in said.splitlines() if line.startswith("20")]
    assert rows == ["2027-01-16 08:00 $0.4000", "2027-01-17 08:00 $0.5000 +25.0%", "2027-01-18 08:00 $0.4500 -10.0%"]
    assert run(monkeypatch, tmp_path, "--history", KEY, "--json") == 0
    prices = json.loads(capsys.readouterr().out)["offers"][0]["prices"]
    assert prices[1] == {"as_of": "2027-01-17T08:00:00+00:00", "usd_per_hour": 0.5, "change_share": 0.25}
    assert run(monkeypatch, tmp_path, "--history", "H100") == 2


def test_a_damaged_history_leaves_prices_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Home(root=tmp_path / "home").price_history_file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"nonsense" * 1000)
    assert run(monkeypatch, tmp_path, "--history", "L4") == 1
    assert "delete that file" in capsys.readouterr().err
    assert run(monkeypatch, tmp_path, "--clouds", "aws") == 0


def refreshed(*lines: Refreshed) -> Any:
    return lambda *_, **__: list(lines)


GOOD = Refreshed(cloud="aws", state=UPDATED, detail="4 rows, the first in the history", rows=4, changed_prices=None)
BAD = Refreshed(cloud="gcp", state=FAILED, detail="the server answered 404", rows=None, changed_prices=None)


def test_refresh_says_each_clouds_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(price_refresh, "refresh_prices", refreshed(GOOD, BAD))
    assert run(monkeypatch, tmp_path, "--refresh") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["aws updated 4 rows, the first in the history", "gcp failed the server answered 404"]
    assert run(monkeypatch, tmp_path, "--refresh", "--json") == 0
    assert [line["state"] for line in json.loads(capsys.readouterr().out)["clouds"]] == [UPDATED, FAILED]


def test_refresh_of_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(price_refresh, "refresh_prices", refreshed(BAD))
    assert run(monkeypatch, tmp_path, "--refresh", "--clouds", "gcp") == 1
    said = capsys.readouterr()
    assert "no catalog was refreshed" in said.err
    assert "gcp" in said.out


def test_live_without_credentials_shows_the_catalogs_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    began_s = time.monotonic()
    assert run(monkeypatch, tmp_path, "--clouds", "aws", "--gpus", "L4", "--live") == 0
    assert time.monotonic() - began_s < 20
    assert "no AWS credentials" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["prices", "--help"], ["prices", "--top", "1"], ["quota", "--help"]])
def test_no_library_of_a_cloud_is_loaded_unasked(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['tunefare', *{arguments!r}]\n"
        "from manager.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', [n for n in ('boto3', 'botocore', 'google.auth', 'requests', 'sky') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout + done.stderr


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tunefare", "prices", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    for name in prices_command.prices.__annotations__:
        if name not in ("return", "spot", "as_json"):
            assert f"--{name.replace('_', '-')}" in said
