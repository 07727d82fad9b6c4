"""A real process reads and writes a model of more than 100 MB: its memory lies within the estimate of the host's."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manager.workload.host_memory import HostNeed, host_need
from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import constant, memory_device
from manager.workload.placement import Placement
from tasks.job import Job
from tests.support.plan_factory import make_profile, make_traces

pytestmark = pytest.mark.torch

MODULES_BYTES = 16 * 2**20
"""Of Python modules that are imported when the first model is read."""
TENSOR_BYTES = 50_000_000
PROGRAM = (
    f"TENSOR = {TENSOR_BYTES}"
    """
import json, pickle, sys, threading
from pathlib import Path
import torch
from transformers import AutoModelForSequenceClassification
from tasks.export import _fill
from tasks.loading import load_classifier
from tasks.tensor_files import write_tensors

folder = Path(sys.argv[1])
job = pickle.loads((folder / 'job').read_bytes())

def held(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

class Watch(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.over = held("RssAnon"), threading.Event()

    def run(self):
        while not self.over.wait(0.001):
            self.peak = max(self.peak, held("RssAnon"))

def peak_of(work):
    before, watch = held("RssAnon"), Watch()
    watch.start()
    result = work()
    watch.over.set()
    watch.join()
    return result, max(watch.peak, held("RssAnon")) - before

process = held("VmRSS")
labels = ["a", "b"]
loaded, loading = peak_of(
    lambda: load_classifier(AutoModelForSequenceClassification, folder, job, labels, purpose="tests", quantize=None)
)
_, writing = peak_of(lambda: loaded.model.save_pretrained(str(folder) + "-out"))
# Values that take no memory themselves.
values = [(name, torch.zeros(1).expand(old.shape)) for name, old in loaded.model.named_parameters()]
_, gathering = peak_of(lambda: _fill(loaded.model, values))
four = {str(at): torch.empty(TENSOR // 4, device="meta") for at in range(4)}
copies = (torch.ones(TENSOR // 4) for _ in four)
_, checkpoint = peak_of(lambda: write_tensors(folder / "checkpoint", four, copies))
parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
figures = {"process": process, "loading": loading, "writing": writing, "gathering": gathering}
print(json.dumps({**figures, "checkpoint": checkpoint, "parameters": parameters}))
"""
)


def measured(folder: Path, job: Job) -> dict[str, int]:
    """Bytes of a fresh process: resident before it reads the model, and anonymous memory that each work adds."""
    (folder / "job").write_bytes(pickle.dumps(job))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, timeout=120, check=True
    )
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def estimated(*, loading_bytes: int, export_bytes: int) -> HostNeed:
    """Of a model on a device of a run that divides it."""
    traces = make_traces()
    memory = memory_of(traces.cuda, batch=1, length=8, device=memory_device("L4"))
    profile = replace(make_profile(), whole_loading_bytes=loading_bytes, whole_export_bytes=export_bytes)
    return host_need(profile, memory, Placement(sharding="fsdp"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process' anonymous memory")
@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_a_real_process_stays_within_the_estimate(tmp_path: Path, job: Job, stored: str) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(hidden_size=512, num_attention_heads=8, num_hidden_layers=4, intermediate_size=2048)
    model = BertForSequenceClassification(config).to(getattr(torch, stored))  # type: ignore[no-untyped-call]
    model.save_pretrained(str(tmp_path))
    job = replace(job, device="cpu", training=replace(job.training, precision="fp32"))
    found = measured(tmp_path, job)
    weights_bytes = 4 * found["parameters"]
    assert weights_bytes > 100e6
    process = constant("cpu_process")
    # It has neither data nor metrics and has computed nothing yet: part of what the training program is.
    assert process.low / 2 <= found["process"] <= process.low
    # What is stored in the type that is asked for stays mapped from its file.
    need = estimated(loading_bytes=0 if stored == "float32" else weights_bytes, export_bytes=weights_bytes)
    assert need.low.loading_bytes <= found["loading"] <= need.high.loading_bytes + MODULES_BYTES
    # On the host already, it is written without a copy; what serialising adds is the range's upper end.
    assert found["writing"] <= (constant("host_writing").high - 1) * weights_bytes
    # Gathered from many devices into a model that was read here: it is whole in memory then, mapped before or not.
    whole = need.low.export_bytes, need.high.export_bytes + 2 * MODULES_BYTES
    assert whole[0] <= found["loading"] + found["gathering"] + MODULES_BYTES
    assert found["loading"] + found["gathering"] <= whole[1]
    # Of the tensors of a checkpoint there are two at a time, of which one is about to go.
    assert found["checkpoint"] == pytest.approx(constant("host_checkpoint").value * TENSOR_BYTES, rel=0.05)
