"""Recipe: a published row as one traced step on one device of one machine, or the reason why it is not expressible.

Owns the joining of words, facts, model, samples and hardware. Memory and time may be expressible apart: fused kernels
change what a step keeps, so that memory is refused where time is not; time needs a mean length, memory the longest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tests.bench.published import words
from tests.bench.published.facts import Facts, facts_of
from tests.bench.published.figures import figures_of, impossible
from tests.bench.published.hardware import accelerator_name
from tests.bench.published.models import config_of, longest_text
from tests.bench.published.rates import Rate
from tests.bench.published.rows import Memory, Row
from tests.bench.published.tasks_of import Samples, samples_of
from tests.bench.published.words import Layout, NotExpressible, Tuning, has


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is predicted for one row."""

    row: Row
    request: TraceRequest
    batch: int
    """Samples of a micro-batch on one device."""
    samples: Samples
    micro_batches: int
    """Per optimizer step."""
    layout: Layout
    accelerator: str | None
    tf32: bool
    facts: Facts
    memory: Memory | None
    memory_refusal: str
    """Why memory is not predicted; empty where it is, or where nothing was measured."""
    rate: Rate | None
    time_refusal: str


def recipe_of(row: Row) -> Recipe:
    """The recipe behind a row.

    Raises:
        NotExpressible: nothing measured, or no trace stands for it.
    """
    if has(r"^(yes|oom|out of memory|true)|failed", row.text("oom")):
        raise NotExpressible("the run failed")
    figures = figures_of(row)
    memory, rate = figures.memory, figures.rate
    if memory is None and rate is None:
        raise NotExpressible(figures.refusal)
    framework = row.text("framework")
    if has(r"tensorflow|\btf[12]?\b|paddle|jax|maxtext|mxnet|keras", framework):
        raise NotExpressible("framework other than PyTorch")
    tuning = words.tuning(row)
    numbers = words.numbers(row, tuning.kind)
    layout = words.layout(row)
    facts = facts_of(row)
    config = config_of(row)
    samples = _samples(row, config, facts)
    batch, micro_batches = _batches(row, layout)
    memory_refusal = figures.memory_refusal or _memory_refusal(
        memory, tuning, config, facts, layout, samples_text=row.text("task")
    )
    if memory is not None and not memory_refusal and tuning.kind == "full" and layout.gpus == 1:
        memory_refusal = impossible(row, memory)
    if memory is not None and not memory_refusal and not samples.is_longest:
        memory_refusal = "length of the longest sample is not stated"
    time_refusal = figures.time_refusal or _time_refusal(row, rate, samples, layout)
    adapted = _adapted(config, facts, samples)
    request = TraceRequest(
        config=adapted,
        task=samples.task,
        method=_method(row, tuning.kind, adapted, facts),
        precision=numbers.precision.removesuffix("-mixed") if facts.half_weights else numbers.precision,
        num_labels=samples.num_labels,
        optimizer=facts.optimizer or _optimizer(row, memory, memory_refusal),
        gradient_checkpointing=_checkpointing(row, facts),
        attention=facts.attention or _attention(row, config),
        padded=samples.padded if facts.padded is None else facts.padded,
        adapter_precision=_adapter_precision(row, tuning.kind, facts),
        target_share=samples.target_share,
        image_size=samples.image_size,
        upcast_logits=facts.upcast_logits and not _has_plain_loss(config, tuning, facts),
        deviations=_deviations(row, tuning, facts, config),
    )
    if (memory is None or memory_refusal) and (rate is None or time_refusal):
        raise NotExpressible(memory_refusal or time_refusal)
    return Recipe(
        row=row,
        request=request,
        batch=batch,
        samples=samples,
        micro_batches=micro_batches,
        layout=layout,
        accelerator=accelerator_name(row),
        tf32=numbers.tf32,
        facts=facts,
        memory=None if memory_refusal else memory,
        memory_refusal=memory_refusal,
        rate=None if time_refusal else rate,
        time_refusal=time_refusal,
    )


def _batches(row: Row, layout: Layout) -> tuple[int, int]:
    """Samples of a micro-batch, and micro-batches of a step."""
    micro, whole = row.value("micro_batch"), row.value("global_batch")
    accumulation = row.value("grad_accum")
    if micro is not None and accumulation and micro >= accumulation and _states_whole_batch(row):
        # There the batch of one update and the number of parts it is cut into are printed side by side.
        micro = micro / accumulation
    if micro is None:
        if whole is None or accumulation is None:
            raise NotExpressible("micro-batch is not stated")
        micro = whole / (layout.gpus * accumulation)
    if micro <= 0:
        raise NotExpressible("micro-batch is not positive")
    if accumulation is not None and accumulation < 0:
        raise NotExpressible("number of micro-batches is not positive")
    if micro < 1:
        raise NotExpressible("micro-batch is less than a sample")
    if accumulation is None:
        accumulation = whole / (micro * layout.gpus) if whole else 1
    return int(micro), max(1, round(accumulation))


def _states_whole_batch(row: Row) -> bool:
    """NVIDIA's tables of BERT pre-training on V100: 4096 with 64 parts is 64 at a time."""
    is_pretraining = has(r"pretrain", row.text("task")) and has(r"nvidia dle pytorch", row.text("framework"))
    return is_pretraining and has("v100", row.text("gpu")) and (row.value("micro_batch") or 0) >= 1024


def _has_experts(config: dict[str, Any]) -> bool:
    return any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts"))


def _memory_refusal(
    memory: Memory | None,
    tuning: Tuning,
    config: dict[str, Any],
    facts: Facts,
    layout: Layout,
    *,
    samples_text: str,
) -> str:
    if memory is None:
        return ""
    if facts.half_weights:
        return "copies in float32 that the optimizer keeps"
    if facts.fused:
        return f"memory of kernels of {facts.kernels}"
    if tuning.kind == "qlora" and _has_experts(config):
        return "experts in 4 bits, which transformers 5 keeps in one tensor that bitsandbytes leaves alone"
    if layout.sharding == "fsdp" and facts.has_fsdp1:
        return "FSDP 1: flat shards and streams of its own, where the product has FSDP 2"
    if tuning.kind == "qlora" and facts.unknown_4bit:
        return "casts around layers in 4 bits that the tracer does not make"
    if layout.offloaded:
        return "offloading to the host"
    if has(r"(in|on)[- ](the )?(gpu|device)\b.*|gpu[- ]resident", samples_text):
        return "samples kept on the device, how many is not stated"
    return ""


_TEXT_TASKS = ("causal-lm", "masked-lm", "seq2seq-lm", "text-classification")


def _samples(row: Row, config: dict[str, Any], facts: Facts) -> Samples:
    samples = samples_of(row, config)
    longest = longest_text(row, config)
    if longest is not None and samples.task in _TEXT_TASKS and samples.length > longest:
        raise NotExpressible("longer than the model's positions")
    if facts.scores_masked_alone and samples.task == "masked-lm":
        samples = replace(samples, task="text-classification")
    if facts.is_litgpt and samples.padded and not has(r"pretrain|\b(mean|average|avg|fixed)\b", row.everything):
        # litgpt prints the length of the longest sample; a batch is padded to its own longest (sft_collate_fn).
        return replace(samples, mean_length=None)
    return samples


def _time_refusal(row: Row, rate: Rate | None, samples: Samples, layout: Layout) -> str:
    if rate is None:
        return ""
    if layout.offloaded:
        return "offloading to the host"
    scope = f"{row.text('time_scope')} ; {row.text('notes')}"
    if has(r"\bincl\w*\.?\W+(\w+ ){0,3}compil", scope) and not has(r"\bexcl", row.text("throughput_unit")):
        return "rate includes compilation"
    if samples.task == "image-classification" and has(_HOST_BOUND, f"{row.text('task')} ; {row.text('notes')}"):
        return "images decoded on the host during the step, at a rate that is not stated"
    if samples.mean_length is None and not (rate.per == "token" and samples.is_longest):
        return "mean length is not stated"
    return ""


_HOST_BOUND = r"jpe?g (data ?)?(loader|decod)|num[_ -]workers[ =]+[01]\b"
"""One process decodes and crops some hundred images a second; no loader keeps pace with a small network."""


def _optimizer(row: Row, memory: Memory | None, memory_refusal: str) -> str:
    try:
        return words.optimizer(row)
    except NotExpressible:
        # The update hardly shows in the time of a step; its state does in memory.
        if memory is not None and not memory_refusal:
            raise
        return "adamw-foreach"


def _checkpointing(row: Row, facts: Facts) -> bool:
    if facts.checkpointing is not None and not row.text("gradient_checkpointing"):
        return facts.checkpointing
    return words.checkpointing(row)


def _attention(row: Row, config: dict[str, Any]) -> str:
    chosen = words.attention(row)
    if config.get("model_type") == "timm_wrapper":
        # timm has the fused call and its own products, nothing else.
        return "eager" if chosen == "eager" else "auto"
    if chosen == "auto" and config.get("model_type") in _EAGER_ALONE:
        return "eager"
    return chosen


def _adapter_precision(row: Row, kind: str, facts: Facts) -> str:
    if kind not in ("lora", "qlora"):
        return "same"
    if has(r"fp32 (lora|adapter)|(lora|adapters?) (in )?fp32", row.text("precision")):
        return "fp32"
    return facts.adapter_precision


def _deviations(row: Row, tuning: Tuning, facts: Facts, config: dict[str, Any]) -> tuple[str, ...]:
    left_out = set() if config.get("model_type") == "gpt_bigcode" else {"cache-kept"}
    named = tuple(name for name in facts.deviations if name not in left_out)
    if tuning.kind != "qlora":
        return tuple(name for name in named if "4bit" not in name)
    is_single = not tuning.double_quantized and has(r"nf4$|once|no double|without double", row.text("quantization"))
    return (*named, *(("quantized-once",) if is_single else ()))


def _adapted(config: dict[str, Any], facts: Facts, samples: Samples) -> dict[str, Any]:
    adapted = dict(config)
    if facts.untied and adapted.get("tie_word_embeddings") is not False and samples.task == "causal-lm":
        adapted["tie_word_embeddings"] = False
    if facts.activation and adapted.get("model_type") == "phi":
        adapted["hidden_act"] = facts.activation
    if facts.fused_qkv and _has_equal_heads(adapted):
        adapted = _with_fused_layers(adapted)
    return adapted


_SHARED_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
)


def _has_equal_heads(config: dict[str, Any]) -> bool:
    heads = config.get("num_attention_heads")
    return config.get("model_type") == "llama" and config.get("num_key_value_heads", heads) == heads


def _with_fused_layers(config: dict[str, Any]) -> dict[str, Any]:
    """Llama with one layer for query, key and value, which are saved as parts of its result: Phi-3 has that form."""
    return {"model_type": "phi3", "pad_token_id": 0} | {key: config[key] for key in _SHARED_FIELDS if key in config}


_EAGER_ALONE = frozenset(
    {"t5", "mt5", "umt5", "switch_transformers", "longt5", "deberta", "deberta-v2", "bloom", "gemma2"}
)
"""Architectures whose code had no scaled_dot_product_attention before transformers 5, of whenever the figures are;
Gemma 2 caps its scores, which no fused kernel of torch does."""

_PLAIN_LOSSES = frozenset({"gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "opt", "bloom", "falcon", "codegen", "gptj"})
"""Language models whose loss took logits as they were before transformers 4.46 (their modeling files)."""


def _has_plain_loss(config: dict[str, Any], tuning: Tuning, facts: Facts) -> bool:
    """Adapters are trained under autocast there, which takes the loss in float32 itself."""
    return facts.old_losses and tuning.kind == "full" and config.get("model_type") in _PLAIN_LOSSES


_TARGETS: dict[str, tuple[str, ...]] = {
    "query": ("q_proj", "query_key_value", "qkv_proj", "c_attn", "Wqkv", "q", "query"),
    "key": ("k_proj", "query_key_value", "qkv_proj", "c_attn", "Wqkv", "k", "key"),
    "value": ("v_proj", "query_key_value", "qkv_proj", "c_attn", "Wqkv", "v", "value"),
    "output": ("o_proj", "dense", "c_proj", "out_proj", "o"),
    "gate": ("gate_proj", "gate_up_proj", "wi_0"),
    "up": ("up_proj", "gate_up_proj", "fc1", "dense_h_to_4h", "c_fc", "wi_1", "wi"),
    "down": ("down_proj", "fc2", "dense_4h_to_h", "wo"),
    "head": ("lm_head", "embed_out"),
}
_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"^(q|query|q_proj|wq)$", ("query",)),
    (r"^(k|key|k_proj|wk)$", ("key",)),
    (r"^(v|value|v_proj|wv)$", ("value",)),
    (r"^(o|out|output|o_proj|output_proj|proj|projection|dense|wo)$", ("output",)),
    (r"^(qkv|query_key_value|c_attn|wqkv|qkv_proj)$", ("query", "key", "value")),
    (r"^(gate|gate_proj)$", ("gate",)),
    (r"^(up|up_proj)$", ("up",)),
    (r"^(down|down_proj)$", ("down",)),
    (r"^(mlp|ffn|w1|w2|w3|moe)$", ("gate", "up", "down")),
    (r"^(head|lm_head|output_head)$", ("head",)),
)
_FUSED_QKV: dict[str, tuple[str, ...]] = {
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "gpt_bigcode": ("c_attn", "c_proj", "c_fc"),
    "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "embed_out"),
    "falcon": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "lm_head"),
    "bloom": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "lm_head"),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"),
    "phi": ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"),
    "t5": ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"),
    "bert": ("query", "key", "value", "dense"),
    "roberta": ("query", "key", "value", "dense"),
    "mpt": ("Wqkv", "out_proj", "up_proj", "down_proj"),
}
"""Names of linear layers where they are not q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head."""
_USUAL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


def _method(row: Row, kind: str, config: dict[str, Any], facts: Facts) -> MethodChoice:
    if kind not in ("lora", "qlora"):
        return MethodChoice(kind=kind)
    rank = row.value("lora_rank")
    if rank is None:
        in_method = re.search(r"\b(?:r|rank) ?[=:]? ?(\d+)", row.text("method"))
        rank = float(in_method[1]) if in_method else 8.0
    targets = lora_targets(row.text("lora_targets") or row.text("method"), str(config.get("model_type")))
    return MethodChoice(
        kind=kind, lora_rank=int(rank), lora_alpha=2 * int(rank), lora_dropout=facts.lora_dropout, lora_targets=targets
    )


def lora_targets(text: str, model_type: str) -> str | list[str]:
    """Modules of this architecture that a list of targets means; PEFT's default (query and value) where it is empty."""
    if has(r"all[- _]?linear|all layers|every linear", text):
        return "all-linear"
    names = [part for part in re.split(r"[\s,;/+()\[\]']+", text) if part]
    roles: list[str] = []
    for name in names:
        roles += next((list(found) for pattern, found in _ROLES if re.fullmatch(pattern, name)), [])
    return _modules(roles or ["query", "value"], model_type)


def _modules(roles: Sequence[str], model_type: str) -> list[str]:
    here = _FUSED_QKV.get(model_type, _USUAL)
    chosen = [next((name for name in _TARGETS[role] if name in here), None) for role in roles]
    if "output" in roles and "down" in roles and model_type in ("gpt2", "gpt_bigcode"):
        chosen.append("c_proj")
    found = list(dict.fromkeys(name for name in chosen if name))
    if not found:
        raise NotExpressible("LoRA targets that the model does not have")
    return found
