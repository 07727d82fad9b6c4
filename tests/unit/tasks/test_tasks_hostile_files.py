"""Files of others are data: nothing in a model folder or a data file is executed, and no picture fills the memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.failures import TaskError
from tasks.job import DataChoice, Job, ModelChoice
from tasks.loading import load_pretrained
from tasks.sources import local_model

TORCH_FILES = ("pytorch_model.bin", "model.bin", "adapter_model.bin", "training_args.bin", "model.pt", "model.pkl")


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def job() -> Job:
    made = Job(run_id="demo-1", model=ModelChoice(source="m"), data=DataChoice(source="d"))
    return replace(made, device="cpu")


def hostile_model(folder: Path, mark: Path) -> Path:
    folder.mkdir()
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2}
    config |= {"num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 10}
    (folder / "config.json").write_text(json.dumps(config))
    for name in TORCH_FILES:
        (folder / name).write_bytes(pickle.dumps(Hostile(mark)))
    return folder


def test_the_pickle_of_this_test_does_run_where_it_is_loaded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_pickled_weights_are_refused_and_not_executed(tmp_path: Path) -> None:
    folder = hostile_model(tmp_path / "model", tmp_path / "ran")
    with pytest.raises(TaskError, match=r"no \*\.safetensors"):
        local_model(str(folder), None)
    assert not (tmp_path / "ran").exists()


def test_nor_are_they_loaded_when_somebody_asks_for_them_all_the_same(tmp_path: Path, job: Job) -> None:
    from transformers import AutoModel

    folder = hostile_model(tmp_path / "model", tmp_path / "ran")
    with pytest.raises(TaskError, match="cannot be loaded"):
        load_pretrained(AutoModel, folder, job, purpose="tests")
    assert not (tmp_path / "ran").exists()


def test_safetensors_that_are_a_pickle_are_refused(tmp_path: Path, job: Job) -> None:
    from transformers import AutoModel

    folder = hostile_model(tmp_path / "model", tmp_path / "ran")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(TaskError, match="cannot be loaded"):
        load_pretrained(AutoModel, folder, job, purpose="tests")
    assert not (tmp_path / "ran").exists()


def test_code_in_a_model_folder_is_not_executed(tmp_path: Path, job: Job) -> None:
    from transformers import AutoModel

    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"import os; os.system(\"touch '{tmp_path / 'ran'}'\")\n")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    with pytest.raises(TaskError) as refused:
        load_pretrained(AutoModel, folder, job, purpose="tests")
    assert refused.value.hint is not None
    assert "never executed" in refused.value.hint
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_an_array_file_is_refused(tmp_path: Path) -> None:
    from tasks.image_data import _npz

    np.savez(tmp_path / "x.npz", x=np.array([Hostile(tmp_path / "ran")], dtype=object), y=np.array([0]))
    with pytest.raises(TaskError, match="cannot be read"):
        _npz(tmp_path / "x.npz")
    assert not (tmp_path / "ran").exists()


def test_a_small_file_that_is_a_vast_picture_is_refused() -> None:
    from tasks.pixels import _decoded

    with pytest.raises(TaskError, match="cannot be decoded"):
        _decoded(_vast_png(60_000), "RGB")


def test_no_module_loads_what_can_run_code() -> None:
    sources = Path(__file__).parents[3]
    forbidden: tuple[str, ...] = (
        "torch.load(",
        "pickle.load",
        "joblib",
        "trust_remote_code=True",
        '"trust_remote_code": True',
    )
    forbidden += ("allow_pickle=True", "yaml.unsafe_load", "shell=True", "os.system(", "eval(f", "weights_only=False")
    found = [
        (file.name, word)
        for package in ("manager", "tasks", "tui", "templates")
        for file in (sources / package).rglob("*.py")
        for word in forbidden
        if word in file.read_text(encoding="utf-8")
    ]
    assert found == []


def _vast_png(edge: int) -> bytes:
    """A few kilobytes that say they are a square of so many pixels along an edge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    out = io.BytesIO(b"")
    out.write(b"\x89PNG\r\n\x1a\n")
    out.write(chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)))
    out.write(chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    out.write(chunk(b"IEND", b""))
    return out.getvalue()
