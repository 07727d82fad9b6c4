"""One step of the very task on a few samples, before anything costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.job import DataChoice, Job, MethodChoice, ModelChoice
from tasks.preflight import TrialError, tried

pytestmark = pytest.mark.torch
PLENTY_BYTES = 2**32


def ask(job: Job, folder: Path, *, memory_bytes: int = PLENTY_BYTES) -> dict[str, Any]:
    from accelerate.state import AcceleratorState  # type: ignore[import-untyped]

    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        return tried(job, folder, samples=6, memory_bytes=memory_bytes)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_the_worker_answers_with_one_line(job: Job) -> None:
    request = {"job": json.loads(job.to_json()), "samples": 6, "memory_bytes": PLENTY_BYTES}
    done = subprocess.run(
        [sys.executable, "-m", "tasks.preflight"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["weights"] == "own"


def test_a_step_of_the_models_own_weights(job: Job, tmp_path: Path) -> None:
    found = ask(job, tmp_path)
    assert found["loss"] > 0
    assert found["step_s"] > 0
    assert (found["samples"], found["train_samples"]) == (2, 6)
    assert (found["layers"], found["weights"], found["changed"]) == (None, "own", [])


def test_a_model_without_weights_here_is_stood_in_for(
    job: Job, tiny_lm: Path, small_texts: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for file in tiny_lm.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    job = replace(
        job,
        task="causal-lm",
        model=ModelChoice(source=str(folder)),
        data=DataChoice(source=str(small_texts)),
        method=MethodChoice(kind="lora", lora_rank=2),
        training=replace(job.training, metric="perplexity", precision="fp16-mixed", sharding="fsdp"),
    )
    found = ask(job, tmp_path)
    assert (found["layers"], found["weights"]) == (None, "random")
    assert found["changed"] == ["fp32 instead of fp16-mixed", "one device, nothing divided"]


def test_a_model_too_big_for_this_memory_has_one_layer(
    job: Job, tiny_vit: Path, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    from tasks.standing_in import _BYTES_PER_PARAMETER, standing_in

    model = AutoModelForSequenceClassification.from_pretrained(str(tiny_model))
    whole = sum(parameter.numel() for parameter in model.parameters()) * _BYTES_PER_PARAMETER
    found = ask(job, tmp_path, memory_bytes=whole - 1)
    assert (found["layers"], found["weights"]) == (1, "random")
    assert torch.isfinite(torch.tensor(found["loss"]))
    with pytest.raises(Exception, match="Not even one layer"):
        standing_in(job, tiny_vit, memory_bytes=100)


@pytest.mark.parametrize(
    ("change", "at", "code"),
    [
        (lambda job: replace(job, data=replace(job.data, source="/nowhere/at/all.csv")), "data", "data_not_found"),
        (lambda job: replace(job, data=replace(job.data, label="no-such-column")), "data", "data_invalid"),
        (lambda job: replace(job, model=ModelChoice(source="/nowhere/model")), "model", "model_not_found"),
        (lambda job: replace(job, method=MethodChoice(kind="lora", lora_targets=["no_such"])), "step", "bad_job"),
    ],
)
def test_what_the_machine_would_have_met(
    change: Callable[[Job], Job], at: str, code: str, job: Job, tmp_path: Path
) -> None:
    with pytest.raises(TrialError) as caught:
        ask(change(job), tmp_path)
    assert (caught.value.at, str(caught.value.error.code)) == (at, code)


def test_the_samples_are_spread_over_the_data() -> None:
    import numpy as np

    from tasks.few_samples import cut
    from tasks.text_data import Passages, TextData

    texts = [str(number) for number in range(100)]
    part = Passages(prompts=None, texts=texts)
    data = TextData(
        train=part, validation=part.take(np.arange(2)), test=part.take(np.arange(50)), source="", bytes=0, sha256=""
    )
    assert cut(data, None) is data
    few = cut(data, 3)
    assert few.train.texts == ["0", "50", "99"]
    assert few.validation.texts == ["0", "1"]
    assert len(few.test) == 3
