"""The unit of a sample's length in a memory answer follows the task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.cli.memory_view import pass_text
from tests.support.memory_stage import report_of, set_stage


@pytest.mark.parametrize(
    ("task", "length", "text"),
    [
        ("causal-lm", 363, "2 samples of 363 tokens a pass, 8 passes a step"),
        ("image-classification", 1, "2 images a pass, 8 passes a step"),
        ("speech-ctc", 80_000, "2 recordings of 5.0 s a pass, 8 passes a step"),
        ("audio-classification", 80_000, "2 recordings of 5.0 s a pass, 8 passes a step"),
        ("image-text-to-text", 120, "2 images with texts of 120 tokens a pass, 8 passes a step"),
        ("speech-seq2seq", 120, "2 recordings with transcripts of 120 tokens a pass, 8 passes a step"),
    ],
)
def test_a_pass_is_told_in_the_unit_of_the_task(
    task: str, length: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_stage(monkeypatch)
    report = report_of(tmp_path)
    asked = replace(report, spec=replace(report.spec, task=task), length=length, micro_batch=2, share=16)
    assert pass_text(asked) == text
