"""`tunefare memory` as it is typed: exit codes, what goes to which stream, hints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manager.cli.main import main
from manager.service import memory
from manager.workload.traces import RunTraces
from tests.support.memory_stage import run_file, set_stage


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["tunefare", "memory", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return int(ended.value.code)


def test_what_fits_ends_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_stage(monkeypatch)
    assert run(monkeypatch, run_file(tmp_path), "--gpu", "l4") == 0
    said = capsys.readouterr()
    assert "needed on L4 (22.35 GiB): fits" in " ".join(said.out.split())
    assert said.err == ""


def test_tracing_is_narrated_unless_json_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_stage(monkeypatch)
    staged = vars(memory)["run_traces"]

    def told(*arguments: Any, tell: Callable[[str], None] | None, **named: Any) -> RunTraces:
        if tell is not None:
            tell("tracing the training step of M ...")
        found: RunTraces = staged(*arguments, **named)
        return found

    monkeypatch.setattr(memory, "run_traces", told)
    run(monkeypatch, run_file(tmp_path), "--gpu", "L4")
    said = capsys.readouterr()
    assert said.err == "tracing the training step of M ...\n"
    assert "tracing" not in said.out
    run(monkeypatch, run_file(tmp_path), "--gpu", "L4", "--json")
    assert capsys.readouterr().err == ""


def test_what_does_not_fit_ends_with_3_and_the_answer_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_stage(monkeypatch)
    assert run(monkeypatch, run_file(tmp_path), "--gpu", "L4", "--micro-batch", 16, "--json") == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["fits"] is False
    assert "16 samples of 1,024 tokens a pass does not fit on L4" in said.err
    assert "hint: " in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpu", "L44"), "did you mean L4?"),
        (("--gpu", "h100:8"), "write --gpu h100 --devices 8"),
        (("--gpu", "nothing"), "MI300X"),
        (("--gpu", "nothing"), "RTXA6000"),
        (("--gpu", "nothing"), "tpu-v5litepod"),
        (("--gpu", "nothing"), "other spellings (A6000, tpu-v5e)"),
        (("--devices", 3), "cannot be shared by 3 devices"),
        (("--sharding", "zero"), "choose one of ddp, fsdp"),
        (("--offload",), "add --sharding fsdp"),
        (("--devices", 0), "--devices"),
    ],
)
def test_bad_choices_end_with_2_and_a_hint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    message: str,
) -> None:
    set_stage(monkeypatch)
    assert run(monkeypatch, run_file(tmp_path), *arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


def test_devices_and_offload_reach_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_stage(monkeypatch)
    run(monkeypatch, run_file(tmp_path), "--gpu", "L4", "--devices", 4, "--sharding", "fsdp", "--offload", "--json")
    placed = json.loads(capsys.readouterr().out)
    assert placed["placement"]["replicas"] == 4
    assert placed["placement"]["cpu_offload"] is True
    assert placed["answer"]["weights"] == 0
    assert placed["answer"]["host_bytes"] > 0
    run(monkeypatch, run_file(tmp_path), "--gpu", "tpu-v5litepod-8", "--json")
    assert json.loads(capsys.readouterr().out)["placement"]["replicas"] == 8
