"""Words: the free text of a published row as the terms of a trace request; rules, not a list of sources.

Owns precision, optimizer, method, attention, checkpointing, sharding and LoRA targets as people write them. It refuses
(`NotExpressible` with a reason) what the tracer has no input for; a cell that is empty takes the default that is named
beside the rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.bench.published.rows import Row


class NotExpressible(ValueError):
    """The estimator has no input for this row; the message is the reason, equal for equal causes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """In which types a step computes."""

    precision: str
    """One of PRECISIONS."""
    tf32: bool
    """Whether products of float32 matrices run in TF32."""
    stated: bool
    """Whether the row says how weights are kept; False: a rule of thumb chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is trained."""

    kind: str
    """full, lora, qlora or frozen."""
    double_quantized: bool = False


def has(pattern: str, text: str) -> bool:
    """Whether a pattern occurs."""
    return re.search(pattern, text) is not None


def tuning(row: Row) -> Tuning:
    """The method.

    Raises:
        NotExpressible: reinforcement learning, adapters other than LoRA, weights in a format without a tracer.
    """
    method, task, quantized = row.text("method"), row.text("task"), row.text("quantization")
    if method == "full" and has(r"--use_peft[ =]t(rue)?\b", row.text("notes")):
        method = "lora"
    if has(r"\b(ppo|dpo|kto|orpo)|(ppo|dpo)\b|rlhf|grpo|rloo|reward", method + " " + task):
        raise NotExpressible("reinforcement learning")
    for pattern, reason in (
        (r"gptq|awq|hqq|aqlm|exl2", "weights quantized with GPTQ, AWQ or the like"),
        (r"int8|8[- ]?bit", "weights in 8 bits"),
        (r"fp8|nvfp4|mxfp4", "weights in 8-bit or 4-bit floats"),
    ):
        if has(pattern, method + " " + quantized):
            raise NotExpressible(reason)
    if has(r"q?adapter|prefix|prompt|ia3|vera|ln[_-]tuning|bitfit|oft|boft|galore|spectrum|projector|unstated", method):
        raise NotExpressible("method is neither full, LoRA, QLoRA nor frozen")
    if has(r"prompttuning|prefixtuning|ptuning|ia3|vera|boft|lnadapter|adalora|lokr|loha", task.replace(" ", "")):
        raise NotExpressible("method is neither full, LoRA, QLoRA nor frozen")
    four_bit = has(r"nf4|fp4|4[- ]?bit|bnb|int4", quantized) or has(r"nf4|\b4[- ]?bit", method)
    if "qlora" in method or (four_bit and "lora" in method):
        return Tuning(kind="qlora", double_quantized=has(r"dq|double", quantized + " " + method))
    if four_bit:
        raise NotExpressible("4-bit weights without LoRA")
    if "lora" in method:
        return Tuning(kind="lora")
    if has(r"(encoder|tower|embeddings?|layers) frozen|frozen (feature|vision|encoder|tower|embedding|layers)", method):
        raise NotExpressible("part of the model is frozen")
    if has(r"head only|frozen|linear prob|feature extraction", method):
        return Tuning(kind="frozen")
    if has(r"\?", method) or (method and not has(r"full|sft|\bfft?\b|fine|tuning|train|scratch|all param", method)):
        raise NotExpressible("method is neither full, LoRA, QLoRA nor frozen")
    return Tuning(kind="full")


_PURE_FRAMEWORKS = r"torchtune|fms|litgpt|lit-gpt|vectorlm|unsloth|thunder"
"""Their bf16 recipes keep weights and optimizer state in bf16 (recipe files and docs of each)."""


_FLOAT16 = (
    r"fp16|float16|half|\b16-(mixed|true)|\b(apex|amp)[ -]o1\b|"
    r"^(torch |pytorch |native )?(amp|autocast|mixed([- ]precision)?)$"
)
"""`16-mixed` as Lightning writes it; autocast computes in float16 on CUDA unless told otherwise."""


_WIDE_WEIGHTS = r"(fp|float)32 (model )?(weights|param)"


def numbers(row: Row, kind: str) -> Numbers:
    """The types of weights and arithmetic.

    A bare `bf16` means bf16 weights where adapters are trained (the base is loaded in bf16) and for frameworks whose
    recipes do so; elsewhere it is autocast over float32 weights, as `Trainer(bf16=True)` does.

    Raises:
        NotExpressible: 8-bit floats, or no precision at all.
    """
    text, states, framework = row.text("precision"), row.text("optimizer"), row.text("framework")
    if has(r"fp8|float8|mxfp|nvfp|int8|hfp8", text):
        raise NotExpressible("arithmetic in 8-bit or 4-bit floats")
    tf32 = has(r"tf32", text) and not has(r"tf32 (off|disabled|=? ?false|=? ?0)", text)
    half = "bf16" if has(r"bf16|bfloat16", text) else "fp16" if has(_FLOAT16, text) else ""
    if not half:
        if has(r"fp32|float32|tf32|single|\b32\b", text):
            return Numbers(precision="fp32", tf32=tf32, stated=True)
        is_named = text and not has(r"\bsee\b|unstated|not stated|unknown|unclear|default", text)
        raise NotExpressible("precision not understood" if is_named else "precision is not stated")
    adapters = kind in ("lora", "qlora")
    if has(r"fp16 ?/ ?(fp32|bf16)|bf16 ?/ ?(fp32|fp16)|\bor\b", text):
        raise NotExpressible("precision is not stated")
    if adapters and not has(rf"{_WIDE_WEIGHTS}|fp32 base|bf16-mixed|fp16-mixed", text):
        return Numbers(precision=half, tf32=tf32, stated=True)
    if has(r"fp32 states|fp32 master|master weights", states + " " + text) or has(r"composer|torchtitan", framework):
        return Numbers(precision=f"{half}-mixed", tf32=tf32, stated=True)
    if has(_WIDE_WEIGHTS, text):
        return Numbers(precision=f"{half}-mixed", tf32=tf32, stated=True)
    if has(
        r"pure|true|weights|params|full (b?fp?16|half)|bf16 everything|^(torch\.)?b?float16\b(?!.*(autocast|amp))", text
    ):
        return Numbers(precision=half, tf32=tf32, stated=True)
    if has(r"amp|autocast|mixed|grad ?scaler", text):
        return Numbers(precision=f"{half}-mixed", tf32=tf32, stated=True)
    if half == "fp16" or not has(_PURE_FRAMEWORKS, framework):
        return Numbers(precision=f"{half}-mixed", tf32=tf32, stated=False)
    return Numbers(precision=half, tf32=tf32, stated=True)


def optimizer(row: Row) -> str:
    """One of OPTIMIZERS; unstated is AdamW as torch runs it by default (foreach).

    Raises:
        NotExpressible: an optimizer whose state the tracer does not know.
    """
    text = row.text("optimizer").replace("_", " ").replace("-", " ")
    if "unknown" in text:
        raise NotExpressible("optimizer is not stated")
    if has(r"galore|apollo|lomo|fira|\bcame\b|ademamix|schedule ?free|cpu ?adam", text):
        raise NotExpressible(f"optimizer {text}")
    if has(r"8 ?bit", text):
        return "adamw-8bit"
    if "adafactor" in text:
        return "adafactor"
    if has(r"\badamw? hf\b|\badamw? loop\b|for ?loop", text):
        return "adamw-loop"
    if has(r"adam|^$|lamb", text):
        return "adamw" if has(r"fused|apex", text) else "adamw-foreach"
    if has(r"sgd|momentum", text):
        return "sgd-momentum" if has(r"momentum|nesterov", text) else "sgd"
    raise NotExpressible(f"optimizer {text}")


_RECOMPUTED = (
    r"^(yes|y|true|1|on|full|enabled?|block|(all )?layers?|with)\b|"
    r"check|ckpt|recomput|reentrant|unsloth|\b(ac|gc)\b|(per|each|every)[- ]layer"
)


def checkpointing(row: Row) -> bool:
    """Whether activations are recomputed; unstated is no.

    Raises:
        NotExpressible: a part of the layers only.
    """
    text = row.text("gradient_checkpointing", "activation_checkpointing", "recompute")
    if not text or has(r"^(no|not|n|false|0|off|disabled|without|never)\b", text):
        return False
    if has(r"selective|sac\b|every (other|\d)|per-op|partial|recipe remat|policy", text):
        raise NotExpressible("activations of some layers recomputed, others kept")
    if has(
        _RECOMPUTED,
        text,
    ):
        return True
    raise NotExpressible("whether activations are recomputed is not stated clearly")


def attention(row: Row) -> str:
    """One of ATTENTIONS; unstated is what scaled_dot_product_attention chooses."""
    text = row.text("attention").replace("-", " ").replace("_", " ")
    if has(r"torch ~?1\.\d", row.text("framework")) and not has(r"flash|xformers|\bfa ?[123]\b", text):
        # scaled_dot_product_attention came with torch 2.0.
        return "eager"
    if has(r"eager|manual|naive|vanilla|matmul", text) and not has(r"sdpa|flash", text):
        return "eager"
    if has(r"flash|\bfa ?[23]\b|triton|flex|cudnn", text):
        return "flash"
    if has(r"xformers|efficient", text):
        return "efficient"
    if "math" in text:
        return "math"
    return "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a job is spread over devices."""

    gpus: int
    sharding: str
    """none (one device), ddp, fsdp (weights, gradients and state sharded), zero1, zero2."""
    offloaded: bool = False


_OF_ONE_MACHINE = 8


def _switches(row: Row) -> str:
    """What a command line in the notes says of devices: DeepSpeed's stage by its file, degrees of parallelism."""
    notes = row.text("notes")
    stage = re.search(r"--deepspeed\S*[ =]\S*(?:zero|stage)[-_]?(\d)", notes)
    degrees = re.findall(
        r"--(context|tensor|pipeline|sequence|expert)[-_](?:model[-_])?parallel[-_]size[ =](\d+)", notes
    )
    found = [f"zero {stage[1]}"] if stage else []
    return " ".join(found + [f"{name} parallel" for name, degree in degrees if int(degree) > 1])


def layout(row: Row) -> Layout:
    """Devices and sharding; several devices without a word are data parallel.

    Raises:
        NotExpressible: tensor, pipeline, context or expert parallel.
    """
    text = f"{row.text('parallelism')} {_switches(row)}".replace("_", " ").strip()
    gpus = row.devices
    for letters, name in (
        ("tp", "tensor"),
        ("pp", "pipeline"),
        ("cp", "context"),
        ("ep", "expert"),
        ("sp", "sequence"),
    ):
        degree = re.search(rf"\b{letters}(?: size| degree)?[ =]*(\d+)", text)
        is_one_of_several = has(rf"\+ ?{letters}\b(?! ?=? ?\d)", text)
        if (degree and int(degree[1]) > 1) or is_one_of_several or has(rf"\b{name}[- ]parallel", text):
            raise NotExpressible(f"{name} parallel")
    if has(r"ulysses|ring attention", text):
        raise NotExpressible("sequence parallel")
    if has(r"model parallel|model split|device ?map|naive mp", text):
        raise NotExpressible("model split over devices")
    offloaded = has(r"offload|infinity", text)
    if gpus <= 1:
        return Layout(gpus=1, sharding="none", offloaded=offloaded)
    if has(r"hsdp|hybrid[- ]shard|\bmics\b", text):
        if gpus > _OF_ONE_MACHINE:
            raise NotExpressible("sharded within machines, copied between them")
        return Layout(gpus=gpus, sharding="fsdp", offloaded=offloaded)
    if has(r"\bz(ero)?[ -]?1\b|stage ?1|distributed optimizer", text):
        return Layout(gpus=gpus, sharding="zero1", offloaded=offloaded)
    if has(r"\bz(ero)?[ -]?2\b|stage ?2|shard grad op", text):
        return Layout(gpus=gpus, sharding="zero2", offloaded=offloaded)
    if has(r"fsdp|\bz(ero)?[ -]?3\b|stage ?3|full[- ]shard", text) and not has(r"ddp/fsdp|fsdp/ddp|fsdp0\b", text):
        return Layout(gpus=gpus, sharding="fsdp", offloaded=offloaded)
    if has(r"ddp/fsdp|fsdp/ddp|per recipe|\b3d\b", text):
        raise NotExpressible("sharding is not stated")
    if (
        has(r"deepspeed|\bzero\b|\bg?spmd\b|\bpjit\b", text)
        and not has(r"zero[ -]?0|stage ?0|\bddp\b", text)
        and not offloaded
    ):
        raise NotExpressible("sharding is not stated")
    return Layout(gpus=gpus, sharding="ddp", offloaded=offloaded)
