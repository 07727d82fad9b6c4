"""The tracing process from outside: one process, several lines, each with its own answer."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import profile
from tasks.job import MethodChoice
from tasks.protocol import EXIT_BAD_INPUT
from tasks.step_trace import TraceRequest
from tasks.step_trace_codec import request_to_json, trace_from_json

pytestmark = pytest.mark.torch

_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 100,
}
_REQUEST = TraceRequest(config=_CONFIG, task="text-classification", method=MethodChoice(), precision="fp32")


def _line(request: TraceRequest, **more: Any) -> str:
    return json.dumps({"request": request_to_json(request), **more})


def test_one_process_answers_line_by_line() -> None:
    unknown = replace(_REQUEST, config={**_CONFIG, "model_type": "no-such-type"})
    lora = replace(_REQUEST, method=MethodChoice(kind="lora"))
    lines = [_line(_REQUEST), "{", _line(unknown), "", _line(lora, with_rank=True)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tasks.profile"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    traced, torn, refused, adapted = map(json.loads, done.stdout.splitlines())
    assert trace_from_json(traced["trace"]).layers == 2
    assert torn["error"]["code"] == "bad_job"
    assert "no-such-type" in refused["error"]["message"]
    assert refused["error"]["hint"]
    assert trace_from_json(adapted["trace"]).rank is None
    assert "R" in trace_from_json(adapted["trace"]).weights_bytes


def test_a_file_is_answered_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "request.json"
    file.write_text(_line(_REQUEST), encoding="utf-8")
    assert profile.main(["--request", str(file)]) == 0
    assert trace_from_json(json.loads(capsys.readouterr().out)["trace"]).task == "text-classification"
    file.write_text(_line(replace(_REQUEST, config={"hidden_size": 32})), encoding="utf-8")
    assert profile.main(["--request", str(file)]) == EXIT_BAD_INPUT
    assert "model_type" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_field_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"request": {**request_to_json(_REQUEST), "colour": 1}}), encoding="utf-8")
    assert profile.main(["--request", str(file)]) == EXIT_BAD_INPUT
    assert "colour" in json.loads(capsys.readouterr().out)["error"]["message"]
