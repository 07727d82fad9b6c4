"""Predict: the figure that the product gives for a published row, in the row's own metric and unit.

Owns the way from a recipe to the calls of `manager.workload`: which placement, which device, which software, what of
the answer is comparable. Nothing here is fitted to a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from manager.catalog.accelerators import Accelerator, accelerator
from manager.workload.efficiencies import Efficiencies, Software, family_of, software
from manager.workload.link import Link, link_of
from manager.workload.memory_answer import MemoryAnswer, memory_of, shown_bytes
from manager.workload.memory_device import memory_device
from manager.workload.placement import Placement
from manager.workload.roofline import UntimedWorkError, step_seconds
from manager.workload.speed import speed_of
from tasks.step_trace import StepTrace, TraceRequest
from tests.bench.published.litgpt_step import held_bytes
from tests.bench.published.recipe import Recipe
from tests.bench.published.rows import GB, GIB, MIB
from tests.bench.published.words import has

SIZE_TOLERANCE = 0.15
"""Part of the published number of parameters by which the traced model may differ."""
_DRIVER_BYTES = {"A100": 862 * 2**20, "A100-80GB": 862 * 2**20, "A100-80GB-SXM": 862 * 2**20}
_DRIVER_BYTES_ELSE = 510 * 2**20
"""What the driver keeps and NVML's first kind of `used` counts: 912 - 7.8 MB on an A100 (rust-nvml/nvml-wrapper#57),
541,917,184 bytes less some 7 MB on an idle A10 (mayooot/detect-gpu#3)."""
_PACKED_BYTES = 1.3
"""Per parameter; half a byte, scales, and embeddings and head in 2 or 4 bytes come to less in all models in 4 bits."""
_COLORS = 3
_PIXELS = 224
_GIGABIT = 1e9 / 8
_NODE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the product says of one row."""

    memory: float | None = None
    """In the row's unit and metric."""
    rate: float | None = None
    """In the row's unit."""
    step_s: float | None = None
    """Seconds of an optimizer step."""
    memory_refusal: str = ""
    time_refusal: str = ""


def traced_request(recipe: Recipe) -> TraceRequest:
    """The request whose trace stands for a recipe: under FSDP, layers run in half precision over float32 shards."""
    request = recipe.request
    if _has_wide_shards(recipe):
        return replace(request, precision=request.precision.removesuffix("-mixed"))
    return request


def predicted(recipe: Recipe, trace: StepTrace) -> Prediction:
    """Memory and rate of a row."""
    refusal = _size_refusal(recipe, trace)
    if refusal:
        return Prediction(memory_refusal=refusal, time_refusal=refusal)
    memory, memory_refusal = _memory(recipe, trace)
    seconds, time_refusal = _step_s(recipe, trace)
    return Prediction(
        memory=memory,
        memory_refusal=memory_refusal,
        step_s=seconds,
        rate=None if seconds is None else in_unit(recipe, seconds),
        time_refusal=time_refusal,
    )


def in_unit(recipe: Recipe, step_s: float) -> float:
    """Seconds of an optimizer step in the unit of the row's rate."""
    assert recipe.rate is not None
    per, devices = recipe.rate.per, recipe.layout.gpus if recipe.rate.whole_system else 1
    if per == "seconds-step":
        return step_s
    if per == "seconds-micro-step":
        return step_s / recipe.micro_batches
    if per == "step":
        return 1 / step_s
    if per == "micro-step":
        return recipe.micro_batches / step_s
    samples = recipe.batch * recipe.micro_batches * devices
    length = recipe.samples.mean_length or recipe.samples.length
    return samples * (length if per == "token" else 1) / step_s


def measured_step_s(recipe: Recipe) -> float | None:
    """Seconds of an optimizer step that the row's rate means."""
    if recipe.rate is None:
        return None
    at_one_second = in_unit(recipe, 1.0)
    if recipe.rate.per.startswith("seconds"):
        return recipe.rate.value / at_one_second
    return at_one_second / recipe.rate.value


def _size_refusal(recipe: Recipe, trace: StepTrace) -> str:
    published = recipe.row.value("params_b")
    if published is None or published <= 0 or recipe.samples.task == "audio-classification":
        # Of encoder-decoders the encoder alone is trained there.
        return ""
    base = trace.parameters - (trace.trainable_parameters if trace.method in ("lora", "qlora") else 0)
    tied_head = _untied_parameters(recipe)
    off = min(abs(size / (published * 1e9) - 1) for size in (base, base - tied_head))
    return "model of another size than the row says" if off > SIZE_TOLERANCE else ""


def _untied_parameters(recipe: Recipe) -> float:
    """Parameters of a head that the framework keeps apart though the published count does not."""
    config = recipe.request.config
    if not recipe.facts.untied:
        return 0.0
    return float(config.get("vocab_size", 0)) * float(config.get("hidden_size", 0))


def _has_wide_shards(recipe: Recipe) -> bool:
    return recipe.layout.sharding == "fsdp" and recipe.request.precision.endswith("-mixed")


def _memory(recipe: Recipe, trace: StepTrace) -> tuple[float | None, str]:
    if recipe.memory is None:
        return None, recipe.memory_refusal
    if recipe.layout.sharding in ("zero1", "zero2"):
        return None, "optimizer state sharded, weights whole"
    if trace.method == "qlora" and trace.weights_bytes.get("1", 0.0) > _PACKED_BYTES * trace.parameters:
        return None, "layers that transformers 5 leaves out of 4 bits"
    metric = recipe.memory.metric
    if metric.startswith("device") and recipe.accelerator is None:
        return None, "accelerator not in the catalog"
    card = accelerator(recipe.accelerator or "")
    if metric != "allocated" and card is not None and card.vendor.casefold() != "nvidia":
        return None, "what an accelerator of another maker than NVIDIA holds beside tensors"
    answer = memory_answer(recipe, trace)
    held = held_bytes(recipe, answer) if recipe.facts.is_litgpt else 0.0
    if recipe.facts.prefetches:
        held += recipe.batch * _COLORS * (recipe.request.image_size or _PIXELS) ** 2 * (1 + 4)
    if metric == "allocated":
        found = answer.allocated_bytes + held
    elif metric == "reserved":
        found = answer.reserved_bytes + held
    else:
        found = shown_bytes(answer, _card_bytes(recipe)) + _stated_context(recipe, answer) + held
        if recipe.facts.counts_driver_memory:
            found = min(found + _DRIVER_BYTES.get(recipe.accelerator or "", _DRIVER_BYTES_ELSE), _card_bytes(recipe))
    return found / recipe.memory.unit_bytes, ""


def memory_answer(recipe: Recipe, trace: StepTrace) -> MemoryAnswer:
    """The product's answer; evaluation is left out, because the rows are peaks of training."""
    sharding = recipe.layout.sharding
    return memory_of(
        trace,
        batch=recipe.batch,
        length=recipe.samples.length,
        device=memory_device(recipe.accelerator or "unknown"),
        evaluation_batch=0,
        placement=Placement(
            replicas=recipe.layout.gpus,
            sharding=sharding if recipe.layout.gpus > 1 else "none",
            shard_precision="fp32" if _has_wide_shards(recipe) else "same",
        ),
        # Gradients that are set to zero stand as those do that are added up.
        accumulates=recipe.micro_batches > 1 or recipe.facts.keeps_gradients,
    )


def _stated_context(recipe: Recipe, answer: MemoryAnswer) -> float:
    """What the context that the row states is above the product's; a fresh process shows it, so people do print it."""
    words = f"{recipe.row.text('memory_metric')} {recipe.row.text('notes')}"
    stated = re.search(r"(?:cuda kernels|cuda context|context of)\D{0,4}([\d.]+) ?(gib|gb|mib|mb)", words)
    if stated is None:
        return 0.0
    unit_bytes = {"gib": GIB, "gb": GB, "mib": MIB, "mb": 1e6}[stated[2]]
    return float(stated[1]) * unit_bytes - answer.context


def _card_bytes(recipe: Recipe) -> float:
    known = accelerator(recipe.accelerator) if recipe.accelerator else None
    return float(known.memory_bytes) if known is not None else 2.0**60


def _step_s(recipe: Recipe, trace: StepTrace) -> tuple[float | None, str]:
    if recipe.rate is None:
        return None, recipe.time_refusal
    if recipe.accelerator is None:
        return None, "accelerator not in the catalog"
    try:
        return step_s_of(recipe, trace, None, software(software_name(recipe))), ""
    except UntimedWorkError:
        return None, "type without a known rate on this accelerator"


def software_name(recipe: Recipe) -> str:
    """Whose constants of time hold: eager, fused, hpu or xla."""
    if recipe.facts.kernels == "XLA" or (recipe.accelerator or "").startswith("tpu"):
        return "xla"
    if family_name(recipe) == "gaudi":
        return "hpu"
    return recipe.facts.software or ("fused" if recipe.facts.fused else "eager")


def step_s_of(recipe: Recipe, trace: StepTrace, efficiencies: Efficiencies | None, chosen: Software) -> float:
    """Seconds of an optimizer step; with given constants, for a fit.

    Raises:
        UntimedWorkError: the accelerator has no rate for a type in the trace.
    """
    card = accelerator(recipe.accelerator or "")
    words = f"{recipe.row.text('framework')} {recipe.row.text('notes')} {recipe.row.text('precision')}"
    if card is None:
        raise UntimedWorkError("unknown accelerator")
    speed = speed_of(
        card,
        software=chosen,
        tf32_matmul=recipe.tf32 and obeys_allow_tf32(card, words),
        tf32_convolution=obeys_allow_tf32(card) and not has(r"tf32 (off|disabled)", words),
        channels_last=has(r"nhwc|channels[_ -]last", words),
        efficiencies=efficiencies,
    )
    if speed is None:
        raise UntimedWorkError("accelerator without known rates")
    sharding = {"none": "ddp", "zero1": "ddp"}.get(recipe.layout.sharding, recipe.layout.sharding)
    return step_seconds(
        trace,
        speed,
        batch=recipe.batch,
        length=recipe.samples.mean_length or recipe.samples.length,
        micro_batches=recipe.micro_batches,
        replicas=recipe.layout.gpus,
        link=_link(recipe, card, speed.family),
        sharding=sharding,
        inputs_on_host=not has(r"synthetic in-gpu|synthetic input", recipe.row.text("task").casefold()),
    ).total_s


def obeys_allow_tf32(card: Accelerator, words: str = "") -> bool:
    """Whether torch's switches for TF32 do anything; on ROCm a variable of the environment has to be set for products,
    and convolutions have none (pytorch/pytorch#130600, #139869, #162943)."""
    return card.vendor.casefold() != "amd" or has(r"hipblaslt_allow_tf32 ?= ?1", words)


def family_name(recipe: Recipe) -> str:
    """Architecture of the row's accelerator, as the constants of time are kept by."""
    return family_of(recipe.accelerator)[0] if recipe.accelerator else ""


def _link(recipe: Recipe, card: Accelerator, family: str) -> Link | None:
    stated = re.search(r"(\d+)\s*gbps", recipe.row.text("notes"))
    network = float(stated[1]) * _GIGABIT if stated else None
    return link_of(card, family=family, devices=recipe.layout.gpus, devices_per_node=_NODE, network_bytes_per_s=network)
