"""Reports as files: each format is whole or not there, and what is missing is said with the way to get it."""

from __future__ import annotations

import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import StateError, UsageError
from manager.reports.model import Report
from manager.service.context import Context
from manager.service.reporting import FORMATS, build_reports, check_metric, reports_json, write_report
from tests.support.contexts import make_context
from tests.support.fonts import needs_font
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import make_run, make_spec

_SVG = "{http://www.w3.org/2000/svg}"
_HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A ledger with three ended runs."""
    found = make_context(tmp_path)
    keep_runs(
        found,
        make_run(run_id="cheap", price="0.8", final=0.93),
        make_run(run_id="dear", price="4", final=0.92),
        make_run(run_id="good", price="2", final=0.97),
    )
    return found


def _reports(context: Context, *runs: str) -> list[Report]:
    return build_reports(context, runs or ("cheap", "dear", "good"))


def _texts(file: Path) -> list[str]:
    tree = ElementTree.parse(file)
    return ["".join(text.itertext()).strip() for text in tree.iter(f"{_SVG}text")]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_written_into_a_new_folder(kind: str, context: Context, tmp_path: Path) -> None:
    file = tmp_path / "new" / f"report.{kind}"
    write_report(kind, _reports(context), file, metric=None, replace=False)
    assert file.stat().st_size > 500
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_picture_of_several_runs_names_them_all_and_draws_the_frontier(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "report.svg"
    write_report("svg", _reports(context), file, metric="f1_macro", replace=False)
    texts = _texts(file)
    assert texts[0] == "Cost against macro F1"
    assert {"cheap", "dear", "good", "A", "B", "C"} <= set(texts)
    lines = {group.get("class"): group for group in ElementTree.parse(file).iter(f"{_SVG}g")}
    assert len(lines["line frontier"].findall(f"{_SVG}g")) == 2
    assert len(lines["line beaten"].findall(f"{_SVG}g")) == 1


def test_the_picture_of_one_run_leads_from_the_estimate_to_the_bill(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "report.svg"
    write_report("svg", _reports(context, "cheap"), file, metric=None, replace=False)
    texts = _texts(file)
    assert {"Estimate", "Training steps", "Bill", "$0.1968", "$0.1804"} <= set(texts)
    bars = [bar.get("class") for bar in ElementTree.parse(file).iter(f"{_SVG}rect") if bar.get("class")]
    assert bars[0] == bars[-1] == "total"
    assert {"cheaper", "dearer"} <= set(bars)


@needs_font
def test_the_pixels_are_the_picture_at_twice_its_size(context: Context, tmp_path: Path) -> None:
    reports = _reports(context)
    for kind in ("svg", "png"):
        write_report(kind, reports, tmp_path / f"report.{kind}", metric=None, replace=False)
    picture = ElementTree.parse(tmp_path / "report.svg").getroot()
    content = (tmp_path / "report.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert (width, height) == (2 * float(picture.get("width", 0)), 2 * float(picture.get("height", 0)))


def test_names_from_strangers_are_text_in_a_picture(context: Context, tmp_path: Path) -> None:
    report = _reports(context, "cheap")[0]
    hostile = replace(report, run_id=_HOSTILE, spec=make_spec(model=_HOSTILE))
    for number, reports in enumerate(([hostile], [hostile, report])):
        file = tmp_path / f"{number}.svg"
        write_report("svg", reports, file, metric=None, replace=False)
        assert not list(ElementTree.parse(file).iter(f"{_SVG}script"))
        assert any("<script>" in text for text in _texts(file))


def test_without_the_library_nothing_is_written_and_the_way_is_told(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UsageError) as caught:
        write_report("png", _reports(context), tmp_path / "report.png", metric=None, replace=False)
    assert "tunefare[png]" in (caught.value.hint or "")
    assert not (tmp_path / "report.png").exists()


def test_a_machine_without_fonts_draws_no_picture_without_words(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind:
        @staticmethod
        def svg_to_bytes(*, svg_string: str, zoom: float) -> bytes:
            return b"the same for every text"

    monkeypatch.setitem(sys.modules, "resvg_py", Blind)
    with pytest.raises(StateError, match="no font"):
        write_report("png", _reports(context), tmp_path / "report.png", metric=None, replace=False)


def test_a_file_is_replaced_only_when_that_is_said(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_text("mine")
    reports = _reports(context)
    with pytest.raises(UsageError, match="exists already"):
        write_report("csv", reports, file, metric=None, replace=False)
    assert file.read_text() == "mine"
    write_report("csv", reports, file, metric=None, replace=True)
    assert file.read_text().startswith("run_id,")


def test_what_cannot_be_written_is_said(context: Context, tmp_path: Path) -> None:
    reports = _reports(context)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be written"):
        write_report("html", reports, tmp_path / "file" / "report.html", metric=None, replace=False)
    with pytest.raises(UsageError, match="is a folder"):
        write_report("html", reports, tmp_path, metric=None, replace=True)
    with pytest.raises(UsageError, match="there is no format `pdf`"):
        write_report("pdf", reports, tmp_path / "report.pdf", metric=None, replace=False)


def test_the_metric_goes_into_every_format(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    reports = _reports(context)
    write_report("json", reports, file, metric="roc_auc", replace=False)
    content = json.loads(file.read_text())
    assert content == reports_json(reports, metric="roc_auc")
    assert content["cost_accuracy"]["metric"] == "roc_auc"
    assert content["cost_accuracy"]["frontier"] == ["cheap", "good"]
    write_report("html", reports, tmp_path / "report.html", metric="roc_auc", replace=False)
    assert "Cost against ROC-AUC" in (tmp_path / "report.html").read_text()


def test_a_metric_that_there_is_not_is_refused() -> None:
    check_metric(None)
    check_metric("f1_macro")
    with pytest.raises(UsageError) as caught:
        check_metric("f1_marco")
    assert "f1_macro" in (caught.value.hint or "")
