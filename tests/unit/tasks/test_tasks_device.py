"""The job file decides on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks import device as task_device
from tasks import opening
from tasks.failures import TaskError
from tasks.job import Job, parse_job
from tasks.protocol import Event
from tests.support.asked_accelerator import asking

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("device", "is_cpu"), [("cpu", True), (None, False)])
def test_a_job_for_the_cpu_takes_no_other_device(
    device: str | None, is_cpu: bool, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(opening, "Accelerator", asking(asked))
    opening.start_accelerator(parse_job(replace(job, device=device).to_json()))
    assert [(one["cpu"], one["mixed_precision"]) for one in asked] == [(is_cpu, "no")]


def test_a_gpu_that_lacks_bfloat16_does_not_matter_to_a_job_for_the_cpu(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(opening, "Accelerator", asking(asked))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    mixed = replace(job, device="cpu", training=replace(job.training, precision="bf16-mixed"))
    opening.start_accelerator(mixed)
    assert [(one["cpu"], one["mixed_precision"]) for one in asked] == [(True, "bf16")]


def test_a_group_of_another_size_than_was_started_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(opening, "Accelerator", asking(asked))
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TaskError, match="2 processes were started, and this one trains with 1"):
        opening.start_accelerator(job)
    assert [one["cpu"] for one in asked] == [True]


@pytest.mark.parametrize(("device", "part"), [("cuda", "finds none"), ("tpu", "device is 'tpu'")])
def test_a_device_that_is_not_there_is_refused(
    device: str, part: str, job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, events = run_train(replace(job, device=device), tmp_path / "out")
    assert (status, events[-1].data["code"]) == (2, "bad_job")
    assert part in events[-1].data["message"]


def test_a_resume_may_bring_another_device(job: Job, run_train: Run, tmp_path: Path) -> None:
    short = replace(job, training=replace(job.training, max_steps=1))
    run_train(short, tmp_path / "out")
    events_file = tmp_path / "out" / "events.jsonl"
    # Without its last line the run is not finished.
    events_file.write_text("".join(events_file.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]))
    status, events = run_train(replace(short, device="cpu"), tmp_path / "out")
    assert status == 0
    assert [event.data["device"] for event in events if event.type == "started"][-1] == "cpu"


@pytest.mark.parametrize(("answer", "told"), [(87, 87.0), (RuntimeError("not supported on a part of a card"), None)])
def test_utilization_is_told_where_the_driver_tells_it(
    answer: int | Exception, told: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(asked: torch.device) -> int:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(task_device, "_has_management_library", lambda: True)
    monkeypatch.setattr(torch.cuda, "utilization", ask)
    assert task_device.utilization_percent(torch.device("cuda")) == told
    assert task_device.utilization_percent(torch.device("cpu")) is None


def test_utilization_is_unknown_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_device, "_has_management_library", lambda: False)
    assert task_device.utilization_percent(torch.device("cuda")) is None
