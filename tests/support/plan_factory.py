"""Specs, synthetic steps, data and offers for tests of workload and planner; sizes of real models and machines."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from manager.catalog.accelerators import accelerator
from manager.catalog.model_entry import ModelEntry
from manager.prices.offer import Offer
from manager.spec.model import Budget, RunSpec, Where
from manager.workload.build import build_profile
from manager.workload.profile import DataStats, WorkloadProfile
from manager.workload.request import adapter_rank
from manager.workload.traces import RunTraces
from tasks.job import DataChoice, MethodChoice, ModelChoice, TrainingChoice
from tasks.step_trace import StepTrace
from tests.support.trace_factory import StepShape, make_trace

GIB = 2**30

_SHAPES = {
    # Layers, hidden size, vocabulary; parameters of the synthetic step follow as 12 h^2 a layer and 2 v h.
    "minilm": (6, 384, 30522),
    "bert-base": (12, 768, 30522),
    "bert-large": (24, 1024, 30522),
    "tinyllama": (22, 2048, 32000),
    "mistral": (32, 4096, 32000),
    "llama2-7b": (32, 4096, 32000),
    "llama2-70b": (80, 8192, 32000),
}


def make_entry(name: str = "minilm", *, is_folder: bool = False) -> ModelEntry:
    """A model by its short name."""
    return ModelEntry(
        name=name,
        config={"model_type": "synthetic"},
        model_type="synthetic",
        tasks=("text-classification",),
        parameters=None,
        stored_dtype="float32",
        weights_bytes=None,
        max_positions=512,
        source="test",
        is_folder=is_folder,
    )


def make_traces(model: str = "minilm", spec: RunSpec | None = None) -> RunTraces:
    """The synthetic step of a run on a model."""
    spec = spec or make_spec()
    layers, hidden, vocabulary = _SHAPES[model]
    rank = adapter_rank(spec)
    shape = StepShape(
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
        method=spec.method.kind,
        precision=spec.training.precision,
        gradient_checkpointing=bool(spec.training.gradient_checkpointing),
        rank=rank or 16,
    )
    # One step object per shape: planners remember what they made of it.
    return RunTraces(cuda=_trace(shape), rank=rank)


@lru_cache(maxsize=512)
def _trace(shape: StepShape) -> StepTrace:
    # A classifier scores a sample, not a token: no chain of logits.
    trace = make_trace(shape)
    points = tuple(
        replace(point, lines={name: line for name, line in point.lines.items() if name != "loss_chain"})
        for point in trace.memory
    )
    return replace(trace, memory=points)


def make_data(
    *, samples: int = 1780, tokens: int = 200, longest: int | None = None, measured: bool = True
) -> DataStats:
    """A data set of five labels, a tenth each for validation and test."""
    return DataStats(
        train_samples=samples,
        validation_samples=max(1, samples // 10),
        test_samples=max(1, samples // 10),
        labels=("business", "entertainment", "politics", "sport", "tech"),
        mean_tokens=float(tokens),
        longest_tokens=longest or tokens,
        padded_mean_tokens=float(tokens),
        truncated_share=0.25,
        bytes=5_000_000,
        sha256=None,
        basis="all samples tokenized",
        measured=measured,
    )


def make_spec(
    *,
    method: str = "full",
    precision: str = "fp32",
    batch_size: int = 32,
    epochs: float = 3.0,
    rank: int = 16,
    checkpointing: bool = False,
    micro_batch: int | None = None,
    max_usd: str | None = None,
    deadline_hours: float | None = None,
    where: Where | None = None,
) -> RunSpec:
    """A run with the choices that tests vary."""
    return RunSpec(
        name="bbc-news",
        task="text-classification",
        model=ModelChoice(source="minilm"),
        data=DataChoice(source="bbc.csv"),
        method=MethodChoice(kind=method, lora_rank=rank),
        training=TrainingChoice(
            epochs=epochs,
            batch_size=batch_size,
            precision=precision,
            gradient_checkpointing=checkpointing,
            micro_batch=micro_batch,
        ),
        budget=Budget(max_usd=None if max_usd is None else Decimal(max_usd), deadline_hours=deadline_hours),
        where=where or Where(),
    )


def make_profile(model: str = "minilm", spec: RunSpec | None = None, data: DataStats | None = None) -> WorkloadProfile:
    """The profile of a run on a model."""
    spec = spec or make_spec()
    return build_profile(spec, make_entry(model), data or make_data(), make_traces(model, spec))


def make_gpu_offer(
    name: str = "L4",
    *,
    price: str | None = "0.8048",
    count: float = 1.0,
    cloud: str = "aws",
    region: str = "us-east-1",
    spot: bool = False,
    nodes: int = 1,
) -> Offer:
    """A machine with accelerators, memory as the catalog states it."""
    specification = accelerator(name)
    return Offer(
        cloud=cloud,
        region=region,
        instance_type=f"{count:g}x{name}",
        accelerator=name,
        accelerator_count=count,
        accelerator_memory_bytes=None if specification is None else specification.memory_bytes,
        num_nodes=nodes,
        vcpus=8.0,
        host_memory_bytes=32 * GIB,
        use_spot=spot,
        price_usd_per_hour=None if price is None else Decimal(price),
        price_source="test prices",
        price_age_s=86_400.0,
    )


def make_cpu_offer(*, price: str | None = "0.05", memory_bytes: int | None = 8 * GIB, vcpus: float = 2.0) -> Offer:
    """This machine, without an accelerator."""
    return Offer(
        cloud="local",
        region=None,
        instance_type=None,
        accelerator=None,
        accelerator_count=0.0,
        accelerator_memory_bytes=memory_bytes,
        vcpus=vcpus,
        host_memory_bytes=memory_bytes,
        use_spot=False,
        price_usd_per_hour=None if price is None else Decimal(price),
        price_source="assumed",
        price_age_s=None,
    )
