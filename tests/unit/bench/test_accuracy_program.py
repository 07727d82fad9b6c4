"""The bench of accuracy from a table to its report: made-up rows, the product's own trace."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.bench import accuracy

pytestmark = pytest.mark.torch

COLUMNS = (
    "id,source,model,params_b,method,task,seq_len,seq_len_note,micro_batch,precision,optimizer,framework,gpu,n_gpus,"
    "peak_memory_gb,peak_memory_unit,memory_metric,throughput,throughput_unit,confidence"
)
COMMON = "full,text classification,128,fixed"
MEASURED = "A100-SXM4-40GB,1,0.2,GiB,torch max_memory_allocated,500,samples/s,complete"
ROWS = (
    f"a-1,one,google/bert_uncased_L-2_H-128_A-2,0.0044,{COMMON},8,fp32,AdamW,PyTorch,{MEASURED}",
    f"a-2,one,google/bert_uncased_L-2_H-128_A-2,0.0044,{COMMON},64,fp32,AdamW,PyTorch,{MEASURED}",
    f"b-1,two,google/bert_uncased_L-2_H-128_A-2,0.0044,{COMMON},8,fp32,AdamW,TensorFlow 2,{MEASURED}",
    f"b-2,two,google/bert_uncased_L-2_H-128_A-2,0.0044,{COMMON},8,MXFP8,AdamW,PyTorch,{MEASURED}",
    f"b-3,two,nobody/no-such-model,0.1,{COMMON},8,fp32,AdamW,PyTorch,{MEASURED}",
    f"b-4,two,google/bert_uncased_L-2_H-128_A-2,0.33,{COMMON},8,fp32,AdamW,PyTorch,{MEASURED}",
)


@pytest.mark.timeout(600)
def test_from_a_table_to_figures_by_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, rows, cache = tmp_path / "made-up.csv", tmp_path / "rows.csv", tmp_path / "cache"
    table.write_text("\n".join((COLUMNS, *ROWS)) + "\n", encoding="utf-8")
    asked = ["--table", str(table), "--cache", str(cache), "--rows", str(rows)]
    assert accuracy.main([*asked, "--json"]) == 0
    printed = capsys.readouterr()
    one, two = json.loads(printed.out)
    assert printed.err == "tracing 1 of 1 recipes\n"
    assert (one["source"], one["file"], one["rows"], one["expressed"]) == ("one", "made-up.csv", 2, 2)
    assert one["memory"]["rows"] == one["time"]["rows"] == 2
    assert set(one["memory"]) == {"rows", "median", "p90", "worst", "false_fits"}
    assert set(one["time"]) == {"rows", "median", "p90", "worst"}
    assert one["memory"]["median"] <= one["memory"]["p90"] <= one["memory"]["worst"]
    assert (two["rows"], two["expressed"], two["memory"]["median"], two["memory"]["false_fits"]) == (4, 0, None, None)
    assert set(two["unexpressed"]) == {
        "framework other than PyTorch",
        "arithmetic in 8-bit or 4-bit floats",
        "model not known",
        "model of another size than the row says",
    }
    with rows.open(encoding="utf-8", newline="") as stream:
        small, large, *_ = csv.DictReader(stream)
    assert 0 < float(small["memory_predicted"]) < float(large["memory_predicted"])
    assert float(small["memory_error"]) == pytest.approx(float(small["memory_predicted"]) / 0.2 - 1, abs=1e-4)
    # A second run finds the trace and says it in words.
    assert accuracy.main(asked) == 0
    assert "complete rows" in capsys.readouterr().out


def test_a_missing_table_is_an_error_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accuracy.main(["--table", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
