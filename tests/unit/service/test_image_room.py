"""Texts beside the tokens of their image, against the positions of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import UsageError
from manager.service import memory
from manager.service.memory import Layout
from manager.workload.request import trace_request
from manager.workload.traces import RunTraces
from tests.support.memory_stage import report_of, set_stage, trace_of


def test_a_length_leaves_room_for_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM has 8,192 positions."""
    set_stage(monkeypatch)

    def traces(spec: Any, entry: Any, **_: Any) -> RunTraces:
        trace = trace_of(trace_request(spec, entry.config, num_labels=2))
        return RunTraces(cuda=replace(trace, image_tokens=1_127))

    monkeypatch.setattr(memory, "run_traces", traces)
    task: dict[str, Any] = {"model": "HuggingFaceTB/SmolVLM-256M-Instruct", "task": "image-text-to-text"}
    assert report_of(tmp_path, Layout(length=7_065), **task).length == 7_065
    with pytest.raises(UsageError, match="at most 8,192 tokens, not 7,066 and the 1,127 of an image") as refused:
        report_of(tmp_path, Layout(length=7_066), **task)
    assert refused.value.hint == "give a smaller --length"
