"""The tracing process: one for all requests, replaced when it ends or hangs; what it runs is played."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import DataError
from manager.profiling.trace_worker import TraceWorker
from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest

_REQUEST = TraceRequest(
    config={"model_type": "bert"}, task="text-classification", method=MethodChoice(), precision="fp32"
)

_PLAYED = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)["request"]
    what = request["task"]
    if what == "slow":
        time.sleep(60)
    if what == "die":
        sys.exit("no such library")
    if what == "refuse":
        answer = {"error": {"code": "bad_job", "message": "no", "hint": "do"}}
    elif what == "mute":
        answer = {"error": {"message": None}}
    else:
        answer = {"trace": {"pid": __import__("os").getpid()}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceWorker]:
    """A worker whose process plays the tracer's."""
    (tmp_path / "played.py").write_text(_PLAYED, encoding="utf-8")
    monkeypatch.setattr("manager.profiling.trace_worker._WORKER", "played")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = TraceWorker()
    yield made
    made.close()


def test_one_process_answers_all_requests(worker: TraceWorker) -> None:
    pids = {worker.ask(_REQUEST, timeout_s=30)["pid"] for _ in range(3)}
    assert len(pids) == 1
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_the_process_says_what_is_wrong_and_goes_on(worker: TraceWorker) -> None:
    with pytest.raises(DataError, match=r"^no$") as caught:
        worker.ask(replace(_REQUEST, task="refuse"), timeout_s=30)
    assert caught.value.hint == "do"
    with pytest.raises(DataError, match="gave no answer"):
        worker.ask(replace(_REQUEST, task="mute"), timeout_s=30)
    assert "pid" in worker.ask(_REQUEST, timeout_s=30)


def test_a_process_that_ends_or_hangs_is_replaced(worker: TraceWorker) -> None:
    with pytest.raises(DataError, match="no such library"):
        worker.ask(replace(_REQUEST, task="die"), timeout_s=30)
    with pytest.raises(DataError, match=r"took longer than 0\.5 s"):
        worker.ask(replace(_REQUEST, task="slow"), timeout_s=0.5)
    assert "pid" in worker.ask(_REQUEST, timeout_s=30)
