"""Tests of the bench where a row has no figure to compare with: runs out of memory, models of timm, odd cells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.step_trace import StepTrace, TraceRequest
from tests.bench import accuracy
from tests.bench.published import evaluate, timm_archive, traces
from tests.bench.published.evaluate import outcomes_of
from tests.bench.published.predict import traced_request
from tests.bench.published.ran_out import as_if_measured, predicted_fit, ran_out_of_memory
from tests.bench.published.recipe import Recipe, recipe_of
from tests.bench.published.report import summary, table_text
from tests.bench.published.rows import Row
from tests.bench.published.traces import Traces

TIMM = {
    "model": "resnet50d",
    "source": "timm benchmarks",
    "method": "full",
    "seq_len": "224",
    "micro_batch": "256",
    "precision": "amp fp16",
    "optimizer": "SGD momentum",
    "framework": "timm benchmark.py torch 1.12 cu113 nchw",
    "gpu": "RTX 3090",
    "throughput": "800",
    "throughput_unit": "samples/s",
}


def row(**cells: str) -> Row:
    """A made-up row."""
    return Row(table="made-up.csv", number=1, cells=cells)


def trace_of(recipe: Recipe) -> StepTrace:
    """The archive's trace of a recipe."""
    from tasks.step_trace_codec import trace_from_json

    return trace_from_json(json.loads(timm_archive.archived(traced_request(recipe)) or ""))


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "timm_is_there", lambda: False)


@pytest.mark.usefixtures("without_timm")
def test_models_of_timm_are_predicted_without_timm_where_the_archive_has_them(tmp_path: Path) -> None:
    known, unknown = row(**TIMM), row(**TIMM | {"model": "resnet9999"})
    first, second = outcomes_of([known, unknown], Traces(folder=tmp_path))
    assert first.time_error is not None
    assert first.time_error == pytest.approx(0, abs=0.5)
    assert second.refusal == timm_archive.NOT_INSTALLED
    assert not list(tmp_path.iterdir())


def test_names_of_timm_with_their_weights() -> None:
    found = recipe_of(row(**TIMM | {"model": "timm/resnet50d.ra2_in1k"})).request.config
    assert found == {"model_type": "timm_wrapper", "architecture": "resnet50d"}
    in_catalog = recipe_of(row(**TIMM | {"model": "timm/resnet50.a1_in1k"})).request.config
    assert in_catalog["model_type"] == "resnet"


def test_attention_of_timm_before_torch_2_is_its_own() -> None:
    request = traced_request(recipe_of(row(**TIMM | {"model": "vit_base_patch32_224"})))
    assert request.attention == "eager"
    assert traced_request(recipe_of(row(**TIMM | {"framework": "timm, torch 2.4"}))).attention == "auto"
    assert trace_of(recipe_of(row(**TIMM))).parameters == 25_576_264


@pytest.mark.usefixtures("without_timm")
@pytest.mark.parametrize(("batch", "fits"), [("16", True), ("4096", False)])
def test_a_run_that_ran_out_of_memory_is_judged_by_whether_it_is_said_to_fit(
    tmp_path: Path, batch: str, fits: bool
) -> None:
    failed = row(**TIMM | {"micro_batch": batch, "oom": "yes", "throughput": ""})
    assert ran_out_of_memory(failed)
    assert not ran_out_of_memory(row(**TIMM, oom="no"))
    recipe = recipe_of(as_if_measured(failed))
    assert predicted_fit(recipe, trace_of(recipe)) is fits
    (outcome,) = outcomes_of([failed], Traces(folder=tmp_path))
    assert (outcome.refusal, outcome.predicted_fit) == ("the run failed", fits)
    assert f"1 judged, {0 if fits else 1} predicted not to fit" in table_text([outcome])
    (group,) = summary([outcome])
    assert (group["expressed"], group["unexpressed"]) == (0, {"the run failed": 1})
    assert set(group) == {"source", "file", "rows", "expressed", "memory", "time", "unexpressed"}


@pytest.mark.usefixtures("without_timm")
def test_one_odd_row_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(one: Row) -> Recipe:
        if one.text("notes") == "odd":
            raise OverflowError("too long a number")
        return recipe_of(one)

    monkeypatch.setattr(evaluate, "recipe_of", read)
    odd, plain = outcomes_of([row(**TIMM, notes="odd"), row(**TIMM)], Traces(folder=tmp_path))
    assert odd.refusal == "the row cannot be read: OverflowError: too long a number"
    assert plain.expressed


def test_an_archive_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request: TraceRequest = traced_request(recipe_of(row(**TIMM)))
    file = tmp_path / "archive.xz"
    assert timm_archive.write({timm_archive.name_of(request): '{"refused": "x"}'}, {"timm": "1"}, file) > 0
    monkeypatch.setattr(timm_archive, "FILE", file)
    timm_archive._answers.cache_clear()
    assert timm_archive.archived(request) == '{"refused": "x"}'
    monkeypatch.setattr(timm_archive, "TRACE_VERSION", -1)
    timm_archive._answers.cache_clear()
    assert timm_archive.archived(request) is None
    timm_archive._answers.cache_clear()


@pytest.mark.parametrize("text", ["", "model,gpu\n"])
def test_a_table_without_rows_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    table = tmp_path / "empty.csv"
    table.write_text(text, encoding="utf-8")
    assert accuracy.main(["--table", str(table)]) == 2
    assert "has no" in capsys.readouterr().err
