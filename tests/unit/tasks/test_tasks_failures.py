"""Bad input and bad luck end in one event with a code, a message and an exit status."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks.checkpoint
import tasks.loop
from tasks import tensor_files
from tasks.emit import EventWriter
from tasks.failures import TaskError, as_task_error
from tasks.job import Job, MethodChoice, parse_job
from tasks.job_checks import check_job
from tasks.protocol import Event, EventType, FailureCode, ProtocolError

Run = Callable[[Job, Path], tuple[int, list[Event]]]
Change = Callable[..., Job]
pytestmark = pytest.mark.torch


def failed(result: tuple[int, list[Event]], *, status: int, code: str) -> dict[str, Any]:
    assert result[0] == status
    assert result[1][-1].type is EventType.FAILED
    assert result[1][-1].data["code"] == code
    return result[1][-1].data


def test_a_misspelt_model_folder_names_the_near_one(job: Job, run_train: Run, tmp_path: Path, tiny_model: Path) -> None:
    misspelt = replace(job, model=replace(job.model, source=str(tiny_model.with_name("tiny-brt"))))
    data = failed(run_train(misspelt, tmp_path / "out"), status=2, code="model_not_found")
    assert "Did you mean 'tiny-bert'?" in data["hint"]


@pytest.mark.parametrize(
    ("missing", "part"), [("config.json", "no config.json"), ("model.safetensors", "no *.safetensors")]
)
def test_a_folder_that_is_no_model(
    missing: str, part: str, job: Job, run_train: Run, tmp_path: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / missing).unlink()
    broken = replace(job, model=replace(job.model, source=str(tmp_path / "model")))
    assert part in failed(run_train(broken, tmp_path / "out"), status=2, code="model_not_found")["message"]


def test_code_of_a_repository_is_not_executed(job: Job, run_train: Run, tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tiny_model / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoModelForSequenceClassification": "modeling.Own"})
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "modeling.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    foreign = replace(job, model=replace(job.model, source=str(tmp_path / "model")))
    failed(run_train(foreign, tmp_path / "out"), status=2, code="model_not_found")
    assert not (tmp_path / "executed").exists()


def test_a_hub_model_without_network(job: Job, run_train: Run, tmp_path: Path) -> None:
    remote = replace(job, model=replace(job.model, source="nobody/no-such-model"))
    data = failed(run_train(remote, tmp_path / "out"), status=2, code="model_not_found")
    assert "hub cannot be reached" in data["message"]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"precision": "fp61"}, "training.precision"),
        ({"metric": "acuracy"}, "training.metric"),
        ({"batch_size": 0}, "training.batch_size"),
        ({"max_length": 33}, "at most 32"),
        ({"learning_rate": -1.0}, "training.learning_rate"),
        ({"precision": "auto"}, "training.precision is auto"),
        ({"sharding": "fsdp2"}, "training.sharding"),
        ({"gradient_checkpointing": "auto"}, "training.gradient_checkpointing"),
    ],
)
def test_hyper_parameters_that_cannot_work(
    values: dict[str, Any], part: str, job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    data = failed(run_train(training_with(job, **values), tmp_path / "out"), status=2, code="bad_job")
    assert part in data["message"]


@pytest.mark.parametrize(
    ("kind", "values", "part"),
    [
        ("qlora", {}, "method.kind qlora"),
        ("full", {"optimizer": "adamw-8bit"}, "training.optimizer adamw-8bit"),
        ("full", {"optimizer": "adafactor"}, "training.optimizer adafactor"),
        ("full", {"precision": "fp16-mixed"}, "training.precision fp16-mixed"),
        ("lora", {"loss": "chunked"}, "training.loss chunked"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_anything_is_loaded(
    kind: str, values: dict[str, Any], part: str, job: Job
) -> None:
    training = replace(job.training, metric="perplexity", **values)
    job = replace(job, task="causal-lm", method=MethodChoice(kind=kind), training=training)
    check_job(job)
    with pytest.raises(TaskError, match=f"{part} does not go with training.sharding fsdp") as caught:
        check_job(replace(job, training=replace(training, sharding="fsdp")))
    assert caught.value.code is FailureCode.BAD_JOB
    assert "ddp" in str(caught.value.hint)


def test_a_job_file_from_before_sharding_still_reads(job: Job) -> None:
    record = json.loads(job.to_json())
    del record["training"]["sharding"], record["training"]["gradient_checkpointing"]
    assert parse_job(json.dumps(record)) == job


def test_a_job_file_that_is_none(tmp_path: Path, run_train: Run) -> None:
    from tasks.train import main

    (tmp_path / "job.json").write_text("{}")
    assert main([str(tmp_path / "job.json"), "--out", str(tmp_path / "out")]) == 2
    assert main([str(tmp_path / "missing.json"), "--out", str(tmp_path / "out")]) == 2


def test_a_loss_that_is_no_number(job: Job, run_train: Run, tmp_path: Path, training_with: Change) -> None:
    wild = training_with(job, learning_rate=1e30, max_grad_norm=0.0, warmup_ratio=0.0)
    data = failed(run_train(wild, tmp_path / "out"), status=3, code="not_a_number")
    assert "at step" in data["message"]
    assert not (tmp_path / "out" / "model").exists()


def test_a_full_disk_keeps_the_older_checkpoint_and_the_run_resumes(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]

    def write_tensors(path: Path, *arguments: Any) -> None:
        calls[0] += 1
        if calls[0] > 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tensor_files.write_tensors(path, *arguments)

    monkeypatch.setattr(tasks.checkpoint, "write_tensors", write_tensors)
    data = failed(run_train(job, tmp_path / "out"), status=3, code="disk_full")
    assert "keep_checkpoints" in data["hint"]
    assert [folder.name for folder in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-00000009"]
    monkeypatch.undo()
    status, events = run_train(job, tmp_path / "out")
    assert status == 0
    assert events[-1].type is EventType.FINISHED


def test_events_that_cannot_be_written_leave_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.warn("first", "fits")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tasks.emit.os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        writer.warn("second", "does not fit")
    monkeypatch.undo()
    writer.warn("third", "fits again")
    events = EventWriter(tmp_path / "events.jsonl").events
    assert [(event.seq, event.data["code"]) for event in events] == [(0, "first"), (1, "third")]


def test_out_of_memory(job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*arguments: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(tasks.loop, "_optimizer_step", too_large)
    data = failed(run_train(job, tmp_path / "out"), status=3, code="out_of_memory")
    assert "micro_batch" in data["hint"]


def test_a_defect_keeps_its_traceback_out_of_the_events(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(*arguments: Any) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(tasks.loop, "_optimizer_step", defect)
    data = failed(run_train(job, tmp_path / "out"), status=1, code="internal")
    assert data["message"] == "AttributeError: no such thing"
    written = capsys.readouterr()
    assert "Traceback" in written.err
    assert "Traceback" not in written.out


def test_two_programs_in_one_folder(
    job: Job, run_train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tasks.train import _lock, main

    (tmp_path / "out").mkdir()
    (tmp_path / "job.json").write_text(job.to_json())
    with _lock(tmp_path / "out"):
        assert main([str(tmp_path / "job.json"), "--out", str(tmp_path / "out")]) == 2
    assert "another training program" in capsys.readouterr().err
    assert not (tmp_path / "out" / "events.jsonl").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "x"), FailureCode.DISK_FULL),
        (OSError(errno.EDQUOT, "x"), FailureCode.DISK_FULL),
        (ValueError("I/O error: No space left on device (os error 28)"), FailureCode.DISK_FULL),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), FailureCode.OUT_OF_MEMORY),
        (MemoryError(), FailureCode.OUT_OF_MEMORY),
        (ProtocolError("schema"), FailureCode.BAD_JOB),
        (RuntimeError("size mismatch"), FailureCode.INTERNAL),
        (ModuleNotFoundError("x", name="torch"), FailureCode.INTERNAL),
    ],
)
def test_errors_of_libraries_get_a_code(error: Exception, code: FailureCode) -> None:
    assert as_task_error(error).code is code


def test_a_missing_package_names_what_training_needs_and_no_installation() -> None:
    """It may be met on a rented machine, where tunefare is not installed."""
    failure = as_task_error(ModuleNotFoundError("No module named 'peft'", name="peft"))
    assert "'peft'" in failure.message
    assert failure.hint == "Training needs the packages of tasks/requirements.txt."
