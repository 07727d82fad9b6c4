"""Specs, model shapes, data and offers for tests of workload and planner; figures of real models and machines."""

from __future__ import annotations

from decimal import Decimal

from manager.catalog.accelerators import accelerator
from manager.catalog.model_shape import ModelShape
from manager.prices.offer import Offer
from manager.spec.model import Budget, RunSpec, Where
from manager.workload.build import build_profile
from manager.workload.profile import DataStats, WorkloadProfile
from tasks.protocol import DataChoice, MethodChoice, ModelChoice, TrainingChoice

GIB = 2**30

_FIGURES = {
    # name: type, family, layers, hidden, intermediate, heads, key-value heads, vocabulary, gated, parameters, tables
    "minilm": ("bert", "encoder", 6, 384, 1536, 12, 12, 30522, False, 22_713_216, 11_917_440),
    "bert-base": ("bert", "encoder", 12, 768, 3072, 12, 12, 30522, False, 109_482_240, 23_835_648),
    "bert-large": ("bert", "encoder", 24, 1024, 4096, 16, 16, 30522, False, 335_141_888, 31_780_864),
    "tinyllama": ("llama", "decoder", 22, 2048, 5632, 32, 4, 32000, True, 1_034_512_384, 65_536_000),
    "mistral": ("mistral", "decoder", 32, 4096, 14336, 32, 8, 32000, True, 7_110_660_096, 131_072_000),
    "llama2-7b": ("llama", "decoder", 32, 4096, 11008, 32, 32, 32000, True, 6_607_343_616, 131_072_000),
}


def make_shape(name: str = "minilm") -> ModelShape:
    """A model by its short name."""
    kind, family, layers, hidden, inner, heads, kv_heads, vocabulary, gated, parameters, tables = _FIGURES[name]
    return ModelShape(
        name=name,
        model_type=kind,
        family=family,
        layers=layers,
        hidden_size=hidden,
        intermediate_size=inner,
        attention_heads=heads,
        key_value_heads=kv_heads,
        head_dim=hidden // heads,
        vocabulary_size=vocabulary,
        max_positions=512,
        position_table_size=512,
        type_vocabulary_size=2,
        embedding_size=hidden,
        gated_mlp=gated,
        tied_embeddings=True,
        parameters=parameters,
        embedding_parameters=tables,
        has_pooler=kind == "bert",
        head_width=hidden,
        head_bias=family == "encoder",
        head_hidden_parameters=0,
        stored_dtype="float32",
        weights_bytes=None,
        source="test",
    )


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
    return build_profile(spec or make_spec(), make_shape(model), data or make_data())


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
