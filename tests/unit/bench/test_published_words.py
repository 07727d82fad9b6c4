"""Tests of the bench's rules for the free text of published rows."""

from __future__ import annotations

import pytest

from tests.bench.published import words
from tests.bench.published.hardware import accelerator_name
from tests.bench.published.recipe import lora_targets
from tests.bench.published.rows import Row
from tests.bench.published.words import NotExpressible


def row(**cells: str) -> Row:
    """A made-up row."""
    return Row(table="made-up.csv", number=1, cells=cells)


@pytest.mark.parametrize(
    ("text", "kind", "framework", "precision", "tf32"),
    [
        ("fp32 (tf32 off)", "full", "", "fp32", False),
        ("tf32", "full", "", "fp32", True),
        ("tf32 matmul + fp16 autocast (AMP, GradScaler)", "full", "", "fp16-mixed", True),
        ("fp16 AMP", "full", "", "fp16-mixed", False),
        ("amp_bf16", "full", "", "bf16-mixed", False),
        ("bf16", "full", "HF Trainer", "bf16-mixed", False),
        ("bf16", "full", "torchtune", "bf16", False),
        ("bf16-true", "full", "", "bf16", False),
        ("bfloat16", "full", "HF Trainer", "bf16", False),
        ("bf16 weights + fp32 LoRA", "lora", "", "bf16", False),
        ("bf16", "qlora", "TRL SFTTrainer", "bf16", False),
        ("float16 + fp16 autocast", "lora", "", "fp16", False),
        ("bf16", "full", "torchtitan FSDP2", "bf16-mixed", False),
    ],
)
def test_precisions(text: str, kind: str, framework: str, precision: str, tf32: bool) -> None:
    found = words.numbers(row(precision=text, framework=framework), kind)
    assert (found.precision, found.tf32) == (precision, tf32)


@pytest.mark.parametrize("text", ["MXFP8", "float8 rowwise", "NVFP4", "", "see the code"])
def test_precisions_that_cannot_be_traced(text: str) -> None:
    with pytest.raises(NotExpressible):
        words.numbers(row(precision=text), "full")


@pytest.mark.parametrize(
    ("method", "quantization", "kind", "double"),
    [
        ("full", "", "full", False),
        ("", "", "full", False),
        ("lora r=8 q,v", "", "lora", False),
        ("lora", "nf4 double quant", "qlora", True),
        ("qlora", "bnb.nf4-dq", "qlora", True),
        ("qlora", "nf4", "qlora", False),
        ("head only", "", "frozen", False),
    ],
)
def test_methods(method: str, quantization: str, kind: str, double: bool) -> None:
    found = words.tuning(row(method=method, quantization=quantization))
    assert (found.kind, found.double_quantized) == (kind, double)


@pytest.mark.parametrize(
    "cells",
    [
        {"method": "gptq-lora"},
        {"method": "lora", "quantization": "LLM.int8"},
        {"method": "adapter_v2"},
        {"method": "full RLHF PPO"},
        {"method": "full", "task": "PPO (TRL)"},
        {"method": "full (feature encoder frozen)"},
    ],
)
def test_methods_that_cannot_be_traced(cells: dict[str, str]) -> None:
    with pytest.raises(NotExpressible):
        words.tuning(row(**cells))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AdamW", "adamw-foreach"),
        ("", "adamw-foreach"),
        ("adamw_torch_fused", "adamw"),
        ("adamw_hf", "adamw-loop"),
        ("paged_adamw_8bit", "adamw-8bit"),
        ("paged_adamw_32bit", "adamw-foreach"),
        ("Adafactor", "adafactor"),
        ("SGD momentum 0.9", "sgd-momentum"),
        ("SGD", "sgd"),
    ],
)
def test_optimizers(text: str, expected: str) -> None:
    assert words.optimizer(row(optimizer=text)) == expected


def test_checkpointing_of_some_layers_is_refused() -> None:
    assert words.checkpointing(row(gradient_checkpointing="yes (FSDP path)"))
    assert not words.checkpointing(row(gradient_checkpointing="unknown"))
    with pytest.raises(NotExpressible):
        words.checkpointing(row(gradient_checkpointing="selective (every other op)"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flash_attention_2", "flash"),
        ("eager", "eager"),
        ("sdpa/default", "auto"),
        ("xformers", "efficient"),
        ("", "auto"),
    ],
)
def test_attention(text: str, expected: str) -> None:
    assert words.attention(row(attention=text)) == expected


@pytest.mark.parametrize(
    ("text", "gpus", "sharding"),
    [
        ("single", "1", "none"),
        ("DDP", "4", "ddp"),
        ("", "4", "ddp"),
        ("FSDP full-shard (BACKWARD_PRE)", "2", "fsdp"),
        ("DeepSpeed ZeRO-3", "8", "fsdp"),
        ("ZeRO-2", "8", "zero2"),
        ("TP1 PP1 CP1", "8", "ddp"),
    ],
)
def test_layouts(text: str, gpus: str, sharding: str) -> None:
    found = words.layout(row(parallelism=text, n_gpus=gpus))
    assert (found.gpus, found.sharding) == (int(gpus), sharding)


@pytest.mark.parametrize(
    ("switches", "sharding"),
    [
        ("args: --max_seq_length 128 --deepspeed tests/configs/deepspeed_zero_2.json", "zero2"),
        ("args: --bf16 --deepspeed configs/zero3.json", "fsdp"),
        ("args: --tensor_parallel_size 1 --deepspeed ds_stage_1.json", "zero1"),
    ],
)
def test_layouts_of_command_lines(switches: str, sharding: str) -> None:
    assert words.layout(row(parallelism="deepspeed", notes=switches, n_gpus="8")).sharding == sharding


@pytest.mark.parametrize(
    ("notes", "reason"),
    [("", "sharding is not stated"), ("args: --context_parallel_size 4", "context parallel")],
)
def test_layouts_that_command_lines_leave_open(notes: str, reason: str) -> None:
    with pytest.raises(NotExpressible, match=reason):
        words.layout(row(parallelism="deepspeed", notes=notes, n_gpus="8"))


def test_the_switch_for_adapters_counts_where_the_method_says_full() -> None:
    assert words.tuning(row(method="full", notes="args: --bf16 True --use_peft True")).kind == "lora"
    assert words.tuning(row(method="full", notes="args: --bf16 True --use_peft False")).kind == "full"


@pytest.mark.parametrize("text", ["TP8 PP1", "FSDP 8, TP 8, PP 8", "TP1 PP4", "model parallel"])
def test_layouts_that_cannot_be_expressed(text: str) -> None:
    with pytest.raises(NotExpressible):
        words.layout(row(parallelism=text, n_gpus="64"))


@pytest.mark.parametrize(
    ("text", "memory", "expected"),
    [
        ("A100-SXM4-40GB", "40", "A100"),
        ("A100", "80", "A100-80GB-SXM"),
        ("A100-80GB PCIe", "80", "A100-80GB"),
        ("NVIDIA GeForce RTX 3090", "24", "RTX3090"),
        ("V100-32GB (DGX-2)", "32", "V100-32GB"),
        ("H100 SXM", "80", "H100-SXM"),
        ("RTX A6000", "48", "RTXA6000"),
        ("Gaudi2", "96", "Gaudi2"),
        ("TPU v5e", "16", "tpu-v5litepod"),
        ("abacus", "", None),
        ("", "", None),
    ],
)
def test_accelerators(text: str, memory: str, expected: str | None) -> None:
    assert accelerator_name(row(gpu=text, gpu_mem_gb=memory)) == expected


@pytest.mark.parametrize(
    ("text", "model_type", "expected"),
    [
        ("query,value", "llama", ["q_proj", "v_proj"]),
        ("", "llama", ["q_proj", "v_proj"]),
        ("q,v,output_proj + mlp", "llama", ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
        ("query,value", "gpt_neox", ["query_key_value"]),
        ("q_proj k_proj", "gpt2", ["c_attn"]),
        ("all-linear", "falcon", "all-linear"),
        (
            "query,key,value,projection,mlp,head",
            "phi",
            ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"],
        ),
    ],
)
def test_lora_targets(text: str, model_type: str, expected: str | list[str]) -> None:
    assert lora_targets(text, model_type) == expected


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("bf16 compute, fp32 params", "bf16-mixed"),
        ("float32 weights + bf16 compute", "bf16-mixed"),
        ("full fp16", "fp16"),
        ("torch.bfloat16", "bf16"),
        ("apex O1", "fp16-mixed"),
    ],
)
def test_weights_and_arithmetic_are_two_things(text: str, precision: str) -> None:
    assert words.numbers(row(precision=text, framework="HF Trainer"), "full").precision == precision


@pytest.mark.parametrize("text", ["fp16/bf16", "bf16 or fp32"])
def test_two_precisions_are_none(text: str) -> None:
    with pytest.raises(NotExpressible, match="precision"):
        words.numbers(row(precision=text), "full")


@pytest.mark.parametrize(
    ("text", "gpus", "sharding"),
    [("HSDP", "8", "fsdp"), ("ZeRO-Infinity", "8", "ddp"), ("tp_size=1, DDP", "8", "ddp"), ("DeepSpeed", "1", "none")],
)
def test_further_layouts(text: str, gpus: str, sharding: str) -> None:
    found = words.layout(row(parallelism=text, n_gpus=gpus))
    assert found.sharding == sharding
    assert found.offloaded == ("Infinity" in text)


@pytest.mark.parametrize("text", ["hybrid shard", "tp_size=4", "FSDP+TP", "3D parallel", "Ulysses 8", "ZeRO", "SPMD"])
def test_further_layouts_that_cannot_be_expressed(text: str) -> None:
    with pytest.raises(NotExpressible):
        words.layout(row(parallelism=text, n_gpus="64"))


@pytest.mark.parametrize("text", ["galore_adamw", "DeepSpeedCPUAdam", "AdamWScheduleFree"])
def test_optimizers_with_another_state_are_not_adamw(text: str) -> None:
    with pytest.raises(NotExpressible, match="optimizer"):
        words.optimizer(row(optimizer=text))


@pytest.mark.parametrize(
    ("text", "recomputed"), [("AC full", True), ("ckpt", True), ("every layer", True), ("not used", False)]
)
def test_checkpointing_in_short(text: str, recomputed: bool) -> None:
    assert words.checkpointing(row(gradient_checkpointing=text)) == recomputed


@pytest.mark.parametrize("method", ["encoder frozen", "frozen vision tower"])
def test_a_part_that_is_frozen_is_not_the_head_alone(method: str) -> None:
    with pytest.raises(NotExpressible, match="part of the model"):
        words.tuning(row(method=method))
