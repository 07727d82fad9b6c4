"""What other estimators say of a recipe; runs in a scratch environment that holds them, and nothing of this project.

Reads one JSON object a line from standard input and answers one a line:
    asked: {"id", "peer", "decoder", "gated", "family", "model", "method" (full, lora, qlora), "rank", "all_linear",
            "precision", "batch", "length", "optimizer", "checkpointing", "flash", "gpus", "sharding" (none, fsdp),
            "dims": {hidden, layers, heads, kv_heads, intermediate, vocabulary, parameters, positions, tied},
            "gpu": {name, memory_bytes, bf16_flops_per_s, fp32_flops_per_s, bandwidth_bytes_per_s}}
    answer: {"id", "peer", "memory_bytes": number or null, "step_s": number or null, "reason": text or null}
A peer is asked through its documented Python interface, with the dimensions of the very model; what it cannot express
is null with a reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

Json = dict[str, Any]
GIB = 2**30
GIGA = 1e9
_BYTES = {"fp32": 4, "bf16-mixed": 4, "fp16-mixed": 4, "bf16": 2, "fp16": 2}


class NotExpressible(ValueError):
    """The peer has no input for this."""


def main() -> int:
    """Answer all lines of standard input."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            memory_bytes, step_s = PEERS[asked["peer"]](asked)
            answer: Json = {"memory_bytes": memory_bytes, "step_s": step_s, "reason": None}
        except Exception as error:  # A peer may fail in any way on a row; that is an answer too.
            first = (str(error).splitlines() or [""])[0]
            answer = {"memory_bytes": None, "step_s": None, "reason": f"{type(error).__name__}: {first}"[:200]}
        sys.stdout.write(json.dumps({"id": asked["id"], "peer": asked["peer"], **answer}) + "\n")
        sys.stdout.flush()
    return 0


def ftuneai(asked: Json) -> tuple[float | None, float | None]:
    """ftuneai: `MemoryEstimator` and `TimeEstimator`; decoders only."""
    models, memory = import_module("ftuneai.core.models"), import_module("ftuneai.core.memory")
    time = import_module("ftuneai.core.time")
    _decoders_only(asked)
    optimizers = {"adamw": "adamw", "adamw-8bit": "adam_8bit", "adafactor": "adafactor", "sgd": "sgd"}
    dims = asked["dims"]
    spec = models.ModelSpec(
        name=asked["model"],
        parameters=dims["parameters"],
        hidden_size=dims["hidden"],
        num_layers=dims["layers"],
        num_attention_heads=dims["heads"],
        num_kv_heads=dims["kv_heads"],
        intermediate_size=dims["intermediate"],
        vocab_size=dims["vocabulary"],
        max_seq_length=dims["positions"] or asked["length"],
        default_dtype="float32" if _BYTES[asked["precision"]] == 4 else "bfloat16",
    )
    config = models.TrainingConfig(
        model=asked["model"],
        method=models.FineTuneMethod(asked["method"]),
        quantization=models.Quantization("4bit" if asked["method"] == "qlora" else "none"),
        batch_size=asked["batch"],
        seq_length=asked["length"],
        gradient_checkpointing=asked["checkpointing"],
        optimizer=models.OptimizerType(_known(optimizers, asked["optimizer"])),
        lora_rank=asked["rank"] or 16,
        lora_target=models.LoRATarget("all_linear" if asked["all_linear"] else "attention"),
        flash_attention=asked["flash"],
        sharding=models.ShardingStrategy("fsdp" if asked["sharding"] == "fsdp" else "none"),
        num_gpus=asked["gpus"],
    )
    breakdown = memory.MemoryEstimator(spec, config).estimate()
    gpu = asked["gpu"]
    step_s = None
    if gpu["bf16_flops_per_s"]:
        card = models.GPUSpec(
            name=gpu["name"],
            vram_gb=gpu["memory_bytes"] / GIB,
            fp16_tflops=gpu["bf16_flops_per_s"] / 1e12,
            bf16_tflops=gpu["bf16_flops_per_s"] / 1e12,
            fp32_tflops=(gpu["fp32_flops_per_s"] or 0) / 1e12,
            memory_bandwidth_gbps=gpu["bandwidth_bytes_per_s"] / GIGA,
        )
        # Hours are rounded to a hundredth: many steps keep the figure exact.
        steps = 1_000_000
        took = time.TimeEstimator(spec, config).estimate(
            card, dataset_size=steps * asked["batch"] * asked["gpus"], epochs=1, num_gpus=asked["gpus"]
        )
        step_s = took.total_hours * 3600 / steps
    return breakdown.total_gb * GIB, step_s


def canifinetune(asked: Json) -> tuple[float | None, float | None]:
    """canifinetune: `estimate(EstimateRequest(...))`, without its stated safety margin; decoders on one GPU."""
    module = import_module("canifinetune.estimator.memory")
    _decoders_only(asked)
    if asked["gpus"] > 1 and asked["sharding"] != "none":
        raise NotExpressible("sharding")
    dims = asked["dims"]
    optimizers = {
        "adamw": "adamw_torch_fused",
        "adamw-foreach": "adamw_torch",
        "adamw-8bit": "adamw_8bit",
        "sgd": "sgd",
    }
    mixed = asked["precision"].endswith("-mixed")
    if mixed and asked["method"] == "full":
        raise NotExpressible("autocast over float32 weights")
    request = module.EstimateRequest(
        model_id=asked["model"],
        method=asked["method"],
        seq_len=asked["length"],
        micro_batch_size=asked["batch"],
        base_dtype="bf16" if mixed else asked["precision"],
        lora_rank=asked["rank"] or 16,
        lora_target_scope="all_linear" if asked["all_linear"] else "attention",
        optimizer=_known(optimizers, asked["optimizer"]),
        gradient_checkpointing=asked["checkpointing"],
        attention_implementation="flash_attention_2" if asked["flash"] else "sdpa",
        gpu_vram_gb=asked["gpu"]["memory_bytes"] / GIB,
        use_network=False,
        override={
            "family": asked["family"],
            "hidden_size": dims["hidden"],
            "num_hidden_layers": dims["layers"],
            "num_attention_heads": dims["heads"],
            "num_key_value_heads": dims["kv_heads"],
            "intermediate_size": dims["intermediate"],
            "vocab_size": dims["vocabulary"],
            "total_params": dims["parameters"],
            "tie_word_embeddings": dims["tied"],
        },
    )
    memory = module.estimate(request).memory
    return (memory.total_estimated_gb - memory.safety_margin_gb) * GIB, None


def llm_analysis(asked: Json) -> tuple[float | None, float | None]:
    """llm-analysis: `LLMAnalysis.training` at its default efficiencies; full training of decoders."""
    config, analysis = import_module("llm_analysis.config"), import_module("llm_analysis.analysis")
    import_module("llm_analysis.logger").logger.setLevel("CRITICAL")
    _decoders_only(asked)
    if asked["method"] != "full":
        raise NotExpressible(asked["method"])
    dims, gpu = asked["dims"], asked["gpu"]
    width = 16 if asked["precision"] != "fp32" else 32
    worker = analysis.LLMAnalysis(
        config.ModelConfig(
            name=asked["model"],
            num_layers=dims["layers"],
            n_head=dims["heads"],
            num_key_value_heads=dims["kv_heads"],
            hidden_dim=dims["hidden"],
            vocab_size=dims["vocabulary"],
            max_seq_len=max(dims["positions"] or 0, asked["length"]),
            ffn_embed_dim=dims["intermediate"],
            expansion_ratio=dims["intermediate"] / dims["hidden"],
        ),
        config.GPUConfig(
            name=gpu["name"],
            mem_per_GPU_in_GB=10 * gpu["memory_bytes"] / GIB,  # It stops where it sees no room; the figure is wanted.
            hbm_bandwidth_in_GB_per_sec=gpu["bandwidth_bytes_per_s"] / GIGA,
            intra_node_bandwidth_in_GB_per_sec=300,
            intra_node_min_message_latency=8e-6,
            peak_fp16_TFLOPS=(gpu["bf16_flops_per_s"] or gpu["fp32_flops_per_s"]) / 1e12,
        ),
        config.DtypeConfig(name="asked", weight_bits=width, activation_bits=width, embedding_bits=width),
        config.ParallelismConfig(dp_size=asked["gpus"]),
    )
    summary = worker.training(
        batch_size_per_gpu=asked["batch"],
        gradient_accumulation_steps=1,
        seq_len=asked["length"],
        activation_recomputation=analysis.ActivationRecomputation.FULL
        if asked["checkpointing"]
        else analysis.ActivationRecomputation.NONE,
        ds_zero=analysis.DSZeRO.STAGE_3 if asked["sharding"] == "fsdp" else analysis.DSZeRO.NONE,
        flash_attn=asked["flash"],
        mlp_gated_linear_units=asked.get("gated", True),
    )
    total = 10 * gpu["memory_bytes"] - summary["memory_left_per_gpu"]
    return total, summary["latency_per_iter"]


def accelerate_rule(asked: Json) -> tuple[float | None, float | None]:
    """`accelerate estimate-memory`: training with Adam takes four times the weights in the chosen type.

    https://huggingface.co/docs/accelerate/usage_guides/model_size_estimator
    """
    if asked["method"] != "full":
        raise NotExpressible(asked["method"])
    return 4.0 * asked["dims"]["parameters"] * _BYTES[asked["precision"]], None


def deepspeed_rule(asked: Json) -> tuple[float | None, float | None]:
    """DeepSpeed's model-state estimators: 18 bytes a parameter without offload, shared out by ZeRO-3.

    `estimate_zero3_model_states_mem_needs` (18 N / gpus plus the largest layer, left out here) and the ZeRO paper,
    arXiv:1910.02054, section 3.1.
    """
    if asked["method"] != "full":
        raise NotExpressible(asked["method"])
    shared = asked["gpus"] if asked["sharding"] == "fsdp" else 1
    return 18.0 * asked["dims"]["parameters"] / shared, None


PEERS: dict[str, Callable[[Json], tuple[float | None, float | None]]] = {
    "ftuneai": ftuneai,
    "canifinetune": canifinetune,
    "llm-analysis": llm_analysis,
    "accelerate's rule": accelerate_rule,
    "DeepSpeed's rule": deepspeed_rule,
}


def _decoders_only(asked: Json) -> None:
    if asked["dims"].get("kv_heads") is None or not asked.get("decoder", True):
        raise NotExpressible("not a decoder")


def _known(names: dict[str, str], wanted: str) -> str:
    if wanted not in names:
        raise NotExpressible(wanted)
    return names[wanted]


if __name__ == "__main__":
    sys.exit(main())
