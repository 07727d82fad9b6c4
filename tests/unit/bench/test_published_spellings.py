"""Tests of the bench on tables that nobody saw: 25 rows of varied spelling, each with the recipe that it means."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import pytest

from tests.bench.published.predict import measured_step_s
from tests.bench.published.recipe import Recipe, recipe_of
from tests.bench.published.rows import Row
from tests.bench.published.words import NotExpressible

_COLUMNS = "model,method,seq_len,micro_batch,grad_accum,precision,optimizer,gradient_checkpointing,attention,gpu,n_gpus"
_MEASURED = "parallelism,peak_memory_gb,peak_memory_unit,memory_metric,throughput,throughput_unit,step_time_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What a row has to be read as."""

    kind: str = "full"
    rank: int = 0
    precision: str = "bf16-mixed"
    length: int = 2048
    batch: int = 4
    accumulation: int = 1
    checkpointing: bool = False
    attention: str = "auto"
    optimizer: str = "adamw-foreach"
    accelerator: str = "A100-80GB-SXM"
    gpus: int = 1
    sharding: str = "none"
    metric: str = ""
    memory_gib: float = 0.0
    step_s: float = 0.0


_LLAMA, _QWEN = "meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-0.5B"
_SPELLINGS: tuple[tuple[str, Meant], ...] = (
    (
        f'{_QWEN},full fine-tuning,"2,048",4,1,BF16,AdamW,False,SDPA,'
        "NVIDIA A100-SXM4-80GB,1,single,~24.5,GiB,nvidia-smi,,,",
        Meant(metric="device", memory_gib=24.5),
    ),
    (
        f"{_QWEN},FFT,2k,4,,bf16-mixed,adamw_torch,no,FlashAttention-2,A100 80GB,,,25088 MiB,MiB,nvidia-smi used,,,",
        Meant(attention="flash", metric="device", memory_gib=24.5),
    ),
    (
        f"{_QWEN},SFT,2048 tokens,4,1,bfloat16 amp,AdamW,on,fa2,A100 (80 GB),1,none,"
        "26.3,GB,torch max_memory_allocated,,,",
        Meant(checkpointing=True, attention="flash", metric="allocated", memory_gib=26.3e9 / 2**30),
    ),
    (
        f"{_QWEN},full parameter,2048,4,1,bf16 autocast,adamw_torch_fused,True,eager,A100-80GB,1,,26300,MB,"
        "torch.cuda.max_memory_allocated,,,",
        Meant(
            checkpointing=True,
            attention="eager",
            optimizer="adamw",
            metric="allocated",
            memory_gib=26.3e9 / 2**30,
        ),
    ),
    (
        f'{_QWEN},full,2048,4,4,amp_bf16,AdamW,0,sdpa,H100 SXM5,1,single,,,,"16,384",tokens/s,',
        Meant(accumulation=4, accelerator="H100-SXM", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,,bf16 mixed,AdamW,disabled,sdpa,NVIDIA H100 80GB HBM3,8,DDP,"
        ",,,4.096k tok/s/GPU,tok/s/GPU,",
        Meant(accelerator="H100-SXM", gpus=8, sharding="ddp", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,2,bf16 mixed,AdamW,,sdpa,8xH100,,data parallel,,,,4096,tokens per second per device,",
        Meant(accumulation=2, accelerator="H100-SXM", gpus=8, sharding="ddp", step_s=4.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,RTX 4090,1,,,,,0.5,it/s,",
        Meant(accelerator="RTX4090", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,NVIDIA GeForce RTX 4090,1,,,,,2.0,s/step,",
        Meant(accelerator="RTX4090", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,4090,1,,,,,,,250 ms",
        Meant(accelerator="RTX4090", step_s=0.25),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,4x A10G,,DDP,,,,8,samples/s,",
        Meant(accelerator="A10G", gpus=4, sharding="ddp", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,L40S,1,,,,,120,examples/min,",
        Meant(accelerator="L40S", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16 mixed,AdamW,,sdpa,L40S,1,,,,,500 ms/sample,,",
        Meant(accelerator="L40S", step_s=2.0),
    ),
    (
        f"{_QWEN},full,2048,4,1,fp16,SGD,no,sdpa,Tesla T4 (Colab),1,,13.9,GB,max memory reserved (torch),,,",
        Meant(precision="fp16-mixed", optimizer="sgd", accelerator="T4", metric="reserved", memory_gib=13.9),
    ),
    (
        f"{_QWEN},full,2048,4,1,16-mixed,AdamW 8-bit,no,xformers,Tesla V100-SXM2-32GB,1,,28 GiB,,NVML peak,,,",
        Meant(
            precision="fp16-mixed",
            optimizer="adamw-8bit",
            attention="efficient",
            accelerator="V100-32GB",
            metric="device",
            memory_gib=28,
        ),
    ),
    (
        f"{_QWEN},full,2048,4,1,amp,AdamW,no,,RTX A6000,1,,40,GiB,nvidia-smi,,,",
        Meant(precision="fp16-mixed", accelerator="RTXA6000", metric="device", memory_gib=40),
    ),
    (
        f"{_QWEN},full,2048,4,1,fp32,AdamW,no,sdpa,A6000,1,,40,GiB,nvidia-smi,,,",
        Meant(precision="fp32", accelerator="RTXA6000", metric="device", memory_gib=40),
    ),
    (
        f"{_QWEN},full,2048,4,1,bf16-true,Adafactor,no,sdpa,L4,1,,18,GiB,nvidia-smi,,,",
        Meant(precision="bf16", optimizer="adafactor", accelerator="L4", metric="device", memory_gib=18),
    ),
    (
        f"{_LLAMA},LoRA r=8,2048,4,1,bf16,AdamW,gradient checkpointing,sdpa,A100 80GB,"
        "1,,30,GiB,torch peak allocated,,,",
        Meant(kind="lora", rank=8, precision="bf16", checkpointing=True, metric="allocated", memory_gib=30),
    ),
    (
        f'{_LLAMA},"LoRA (rank 64, alpha 128)",2048,4,1,bf16,paged_adamw_32bit,yes,sdpa,A100 80GB,1,,30,GiB,'
        "torch peak allocated,,,",
        Meant(kind="lora", rank=64, precision="bf16", checkpointing=True, metric="allocated", memory_gib=30),
    ),
    (
        f"{_LLAMA},QLoRA (nf4),2048,4,1,bf16,paged_adamw_8bit,use_reentrant=False,sdpa,A100 80GB,1,,14,GiB,"
        "torch peak allocated,,,",
        Meant(
            kind="qlora",
            rank=8,
            precision="bf16",
            optimizer="adamw-8bit",
            checkpointing=True,
            metric="allocated",
            memory_gib=14,
        ),
    ),
    (
        f"{_LLAMA},4-bit LoRA,2048,4,1,bf16,AdamW,yes,sdpa,1x NVIDIA A100 (40GB),,,14,GiB,torch peak allocated,,,",
        Meant(
            kind="qlora",
            rank=8,
            precision="bf16",
            checkpointing=True,
            accelerator="A100",
            metric="allocated",
            memory_gib=14,
        ),
    ),
    (
        f"{_LLAMA},full,2048,4,1,bf16,AdamW,yes,sdpa,8 \u00d7 A100-80GB,,DeepSpeed ZeRO stage 3,,,,4096,TGS,",
        Meant(checkpointing=True, gpus=8, sharding="fsdp", step_s=2.0),
    ),
    (
        f"{_LLAMA},full,2048,4,1,bf16,AdamW,yes,sdpa,A100-80GB x8,,ds_z2,240,GiB,nvidia-smi total over all GPUs,,,",
        Meant(checkpointing=True, gpus=8, sharding="zero2", metric="device", memory_gib=30),
    ),
    (
        f"{_LLAMA},full,2048,4,1,bf16,AdamW,yes,sdpa,H100 PCIe,8,FSDP2,64-66,GiB,max_memory_reserved,,,",
        Meant(checkpointing=True, accelerator="H100-PCIE", gpus=8, sharding="fsdp", metric="reserved", memory_gib=65),
    ),
)


def read(line: str, **further: str) -> Recipe:
    """The recipe of one line."""
    text = f"{_COLUMNS},{_MEASURED}\n{line}\n"
    (cells,) = csv.DictReader(io.StringIO(text))
    return recipe_of(Row(table="unseen.csv", number=1, cells={**cells, **further}))


@pytest.mark.parametrize(("line", "meant"), _SPELLINGS)
def test_rows_are_read_as_their_authors_meant_them(line: str, meant: Meant) -> None:
    found = read(line)
    request = found.request
    assert (request.method.kind, request.precision, request.optimizer) == (meant.kind, meant.precision, meant.optimizer)
    assert (request.gradient_checkpointing, request.attention) == (meant.checkpointing, meant.attention)
    assert (found.samples.length, found.batch, found.micro_batches) == (meant.length, meant.batch, meant.accumulation)
    assert (found.accelerator, found.layout.gpus, found.layout.sharding) == (
        meant.accelerator,
        meant.gpus,
        meant.sharding,
    )
    if meant.rank:
        assert request.method.lora_rank == meant.rank
    if meant.metric:
        assert found.memory is not None
        assert found.memory.metric == meant.metric
        assert found.memory.value * found.memory.unit_bytes / 2**30 == pytest.approx(meant.memory_gib)
    if meant.step_s:
        assert measured_step_s(found) == pytest.approx(meant.step_s)
    assert bool(meant.metric) == (found.memory is not None)
    assert bool(meant.step_s) == (found.rate is not None)


_PLAIN = f"{_QWEN},full,2048,4,1,bf16,AdamW,no,sdpa,A100-80GB,1,,,,,,,"


@pytest.mark.parametrize(
    ("further", "reason"),
    [
        ({"throughput": "410", "throughput_unit": "TFLOP/s/GPU"}, "FLOP/s"),
        ({"mfu_pct": "41"}, "FLOP/s"),
        ({"peak_memory_gb": "30", "memory_metric": "peak VRAM"}, "what the memory figure counts"),
        ({"step_time_s": "1", "precision": "see code"}, "precision is not stated"),
        ({"step_time_s": "1", "gradient_checkpointing": "perhaps"}, "recomputed is not stated clearly"),
        ({"step_time_s": "1", "seq_len": ""}, "length is not stated"),
        ({"step_time_s": "1", "micro_batch": "auto"}, "micro-batch is not stated"),
        ({"step_time_s": "1", "model": "somebody/unheard-of-13b"}, "model not known"),
        ({"step_time_s": "1", "task": "DPO on UltraFeedback"}, "reinforcement learning"),
    ],
)
def test_rows_that_do_not_say_enough_name_what_is_missing(further: dict[str, str], reason: str) -> None:
    with pytest.raises(NotExpressible, match=reason):
        read(_PLAIN, **further)


@pytest.mark.parametrize("task", ["customer support chat", "endpoint detection dialogues"])
def test_words_that_hold_the_name_of_a_method_are_not_that_method(task: str) -> None:
    assert read(_PLAIN, step_time_s="1", task=task).request.method.kind == "full"


@pytest.mark.parametrize(
    "name", ["RTX 3090 Ti", "RTX 4070 Ti", "RTX 4080 SUPER", "GTX 1080 Ti", "L20", "H100-96GB", "Titan V", "(2 GPUs)"]
)
def test_a_card_that_is_not_listed_is_not_its_neighbour(name: str) -> None:
    assert read(_PLAIN, step_time_s="1", gpu=name).accelerator is None
