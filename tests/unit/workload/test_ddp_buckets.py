"""Buckets of DistributedDataParallel, as the training program wraps a model, against what is planned for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import DistributedDataParallelKwargs  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import Placement
from tasks.job import DataChoice, Job, MethodChoice, ModelChoice
from tasks.opening import start_accelerator
from tests.support.plan_factory import make_traces
from tests.support.tensor_sums import peak_growth_bytes

pytestmark = pytest.mark.torch


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture
def fresh_state() -> Iterator[None]:
    """Accelerate keeps one state per process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_state")
@pytest.mark.parametrize("method", ["full", "gradual"])
def test_the_program_leaves_gradients_outside_the_buckets(method: str) -> None:
    job = Job(
        run_id="x",
        model=ModelChoice(source="m"),
        data=DataChoice(source="d"),
        method=MethodChoice(kind=method),
        device="cpu",
    )
    accelerator = start_accelerator(job)
    handler = accelerator.ddp_handler or DistributedDataParallelKwargs()
    assert handler.gradient_as_bucket_view is False
    default = inspect.signature(DistributedDataParallel).parameters["gradient_as_bucket_view"].default
    assert default is False


@pytest.mark.usefixtures("group")
def test_buckets_are_as_large_as_the_gradients_beside_them() -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 2048), nn.Linear(2048, 16))
    model[0].requires_grad_(requires_grad=False)
    learnt = sum(part.nbytes for part in model.parameters() if part.requires_grad)
    wrapped: list[nn.Module] = []
    # Without the copies by which processes agree on weights, which are gone when training begins.
    buckets = peak_growth_bytes(lambda: wrapped.append(DistributedDataParallel(model, init_sync=False)))
    assert buckets == pytest.approx(learnt, rel=0.01)
    wrapped[0](torch.zeros(1, 512)).sum().backward()
    assert all(part.grad is not None for part in model.parameters() if part.requires_grad)


def test_the_plan_counts_them_at_every_moment() -> None:
    trace = make_traces("minilm").cuda
    device = memory_device("A100-80GB")
    alone, shared = (
        memory_of(trace, batch=4, length=64, device=device, placement=placement)
        for placement in (Placement(), Placement(replicas=2, sharding="ddp"))
    )
    beside = device.collectives_bytes
    for name in ("training_bytes", "evaluation_bytes", "save_bytes"):
        assert getattr(shared, name) - getattr(alone, name) == trace.trainable.bytes + beside
