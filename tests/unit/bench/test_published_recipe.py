"""Tests of recipes: what rows of a framework imply, and which figures of a row can be predicted."""

from __future__ import annotations

import pytest

from manager.catalog.accelerators import accelerator
from tests.bench.published.predict import (
    in_unit,
    measured_step_s,
    obeys_allow_tf32,
    software_name,
    traced_request,
)
from tests.bench.published.recipe import Recipe, recipe_of
from tests.bench.published.report import Outcome, statistics
from tests.bench.published.rows import Row
from tests.bench.published.words import NotExpressible

BASE = {
    "model": "meta-llama/Llama-2-7b-hf",
    "method": "lora",
    "lora_rank": "8",
    "lora_targets": "q_proj,v_proj",
    "seq_len": "1024",
    "seq_len_note": "packed",
    "micro_batch": "2",
    "grad_accum": "4",
    "precision": "bf16",
    "optimizer": "AdamW",
    "framework": "PyTorch",
    "gpu": "A100-80GB",
    "gpu_mem_gb": "80",
    "n_gpus": "1",
    "peak_memory_gb": "20",
    "peak_memory_unit": "GiB",
    "memory_metric": "torch max_memory_allocated",
    "throughput": "4000",
    "throughput_unit": "tokens/s",
}


def recipe(**cells: str) -> Recipe:
    """The recipe of a made-up row that differs from the base in these cells."""
    return recipe_of(Row(table="made-up.csv", number=1, cells=BASE | cells))


def test_a_plain_row() -> None:
    found = recipe()
    assert found.request.task == "causal-lm"
    assert found.request.method.lora_targets == ["q_proj", "v_proj"]
    assert (found.batch, found.micro_batches, found.samples.length, found.request.padded) == (2, 4, 1024, False)
    assert found.accelerator == "A100-80GB-SXM"
    assert software_name(found) == "eager"


def test_rate_and_step_time_are_two_sides_of_one_figure() -> None:
    found = recipe()
    step_s = measured_step_s(found)
    assert step_s is not None
    assert step_s == pytest.approx(2 * 4 * 1024 / 4000)
    assert in_unit(found, step_s) == pytest.approx(4000)
    per_device = recipe(throughput_unit="tokens/s/GPU", n_gpus="8", parallelism="DDP")
    assert measured_step_s(per_device) == pytest.approx(2 * 4 * 1024 / 4000)
    whole = recipe(throughput_unit="tokens/s whole system", n_gpus="8", parallelism="DDP")
    assert measured_step_s(whole) == pytest.approx(8 * 2 * 4 * 1024 / 4000)


def test_fused_kernels_are_timed_and_their_memory_is_not_predicted() -> None:
    found = recipe(framework="TRL SFTTrainer + Liger")
    assert found.memory is None
    assert "Liger" in found.memory_refusal
    assert found.rate is not None
    assert software_name(found) == "fused"


def test_a_compiled_step_is_fused() -> None:
    assert software_name(recipe(framework="torchtitan FSDP2", compile="yes")) == "fused"
    assert software_name(recipe(framework="torchtitan FSDP2", compile="no")) == "eager"


def test_kernels_are_those_of_the_framework_and_not_of_who_published_the_row() -> None:
    source = "LLaMA-Factory performance comparison (via Unsloth README)"
    assert software_name(recipe(source=source, framework="LLaMA-Factory HF")) == "eager"
    assert software_name(recipe(source=source, framework="LLaMA-Factory Unsloth+FA2")) == "fused"
    assert software_name(recipe(source="Unsloth README", framework="")) == "fused"


NVIDIA_BERT = {
    "model": "BERT-large",
    "method": "full",
    "precision": "mixed fp16",
    "framework": "NVIDIA DLE PyTorch",
    "seq_len": "384",
    "throughput_unit": "sequences/s whole system",
}


def test_nvidia_casts_its_bert_once_and_multiplies_its_attention_itself() -> None:
    tuned = recipe(**NVIDIA_BERT, task="fine-tuning SQuAD v1.1")
    assert (tuned.request.precision, tuned.request.attention, software_name(tuned)) == ("fp16", "eager", "eager")
    assert "float32" in tuned.memory_refusal
    pretrained = recipe(**NVIDIA_BERT | {"seq_len": "128"}, task="pretraining/from scratch")
    assert (pretrained.request.attention, software_name(pretrained)) == ("eager", "fused")
    assert pretrained.request.task == "text-classification", "the head sees masked words alone"
    plain = recipe(**NVIDIA_BERT | {"framework": "HF Trainer"}, task="fine-tuning SQuAD v1.1")
    assert (plain.request.precision, plain.request.attention) == ("fp16-mixed", "auto")


def test_trl_widens_norms_around_layers_in_4_bits() -> None:
    cells = {"framework": "TRL SFTTrainer", "method": "qlora", "quantization": "nf4 4-bit"}
    found = recipe(**cells).request
    assert "norms-in-float32" in found.deviations
    assert found.adapter_precision == "fp32"
    sharded = recipe(**cells, n_gpus="4", parallelism="FSDP", throughput_unit="tokens/s")
    assert sharded.request.deviations == ()
    assert recipe(framework="TRL SFTTrainer").request.deviations == ()


def test_fused_kernels_leave_bigcode_as_it_is_but_for_the_loss() -> None:
    framework = "fms-hf-tuning/TRL SFTTrainer + foak-fast-kernels"
    found = recipe(framework=framework, model="bigcode/gpt_bigcode-santacoder")
    assert software_name(found) == "eager"
    assert "cross-entropy" in found.memory_refusal
    assert software_name(recipe(framework=framework)) == "fused"


def test_rows_of_a_compiler_without_it_are_eager() -> None:
    cells = {"framework": "litgpt extensions/thunder", "task": "causal LM pretrain", "method": "full"}
    assert software_name(recipe(**cells, compile="thunder nvfuser")) == "fused"
    assert software_name(recipe(**cells, compile="eager")) == "eager"


@pytest.mark.parametrize(
    ("card", "words", "obeys"),
    [("MI325X", "tf32", False), ("MI325X", "env hipblaslt_allow_tf32=1", True), ("H100-SXM", "tf32", True)],
)
def test_switches_for_tf32_do_nothing_on_amd(card: str, words: str, obeys: bool) -> None:
    known = accelerator(card)
    assert known is not None
    assert obeys_allow_tf32(known, words) == obeys


def test_lit_gpt_has_one_layer_for_query_key_and_value() -> None:
    found = recipe(framework="lit-gpt 8641822", lora_targets="query,value")
    assert found.request.config["model_type"] == "phi3"
    assert found.request.config["tie_word_embeddings"] is False
    assert found.request.method.lora_targets == ["qkv_proj"]
    grouped = recipe(framework="lit-gpt 8641822", model="meta-llama/Meta-Llama-3-8B")
    assert grouped.request.config["model_type"] == "llama"


def test_old_torch_keeps_the_inputs_of_softmax() -> None:
    assert recipe(framework="HF Trainer, torch ~1.1x").request.deviations == ("softmax-inputs-kept",)
    assert recipe(framework="HF Trainer, torch 2.1").request.deviations == ()


IMAGES = {
    "model": "torchvision resnet50",
    "method": "full",
    "precision": "fp16 AMP",
    "seq_len": "224",
    "seq_len_note": "",
    "throughput_unit": "images/s",
    "optimizer": "SGD",
}
TOKENS_A_STEP = {"throughput": "", "step_time_s": "0.5"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (IMAGES | {"task": "image classification (JPEG dataloader)"}, "host"),
        (IMAGES | {"task": "image classification", "notes": "args: --dataloader_num_workers 1"}, "host"),
        (IMAGES | {"task": "image classification", "notes": "args: --dataloader_num_workers 16"}, ""),
        (IMAGES | {"task": "image classification, synthetic in-GPU"}, ""),
        ({"time_scope": "train_runtime incl. XLA compile"}, "compilation"),
        ({"notes": "includes compilation, tiny dataset"}, "compilation"),
        ({"time_scope": "incl. compilation", "throughput_unit": "samples/s (excl. warm-up)"}, ""),
        ({"notes": "100 steps, no compilation"}, ""),
        ({"parallelism": "ZeRO-3 offload", "n_gpus": "4"}, "offloading"),
        (TOKENS_A_STEP | {"framework": "lit-gpt", "seq_len_note": "", "task": "instruction tuning"}, "mean length"),
        (TOKENS_A_STEP | {"framework": "lit-gpt", "seq_len_note": "mean 300", "task": "instruction tuning"}, ""),
        (TOKENS_A_STEP | {"framework": "litgpt", "seq_len_note": "", "task": "causal LM pretrain"}, ""),
        (TOKENS_A_STEP | {"seq_len_note": "as passed", "notes": "args: --packing False"}, "mean length"),
        (TOKENS_A_STEP | {"seq_len_note": "as passed", "notes": "args: --packing True"}, ""),
        ({"seq_len_note": "max length (packed/cut?)"}, "length"),
    ],
)
def test_rates_that_are_not_those_of_the_step_are_refused(cells: dict[str, str], reason: str) -> None:
    try:
        refusal = recipe(**cells).time_refusal
    except NotExpressible as error:
        refusal = str(error)
    assert (reason in refusal) if reason else refusal == ""


@pytest.mark.parametrize(
    "cells",
    [
        {"model": "meta-llama/Llama-3.2-11B-Vision-Instruct"},
        {"model": "meta-llama/Llama-3.1-8B", "task": "image2text LoRA"},
        {"model": "meta-llama/Llama-3.1-8B", "task": "ImageToTextModeling"},
    ],
)
def test_tuning_on_images_is_not_timed_as_text(cells: dict[str, str]) -> None:
    with pytest.raises(NotExpressible, match="images per sample"):
        recipe(**cells)


def test_mixed_precision_under_fsdp_is_half_precision_over_wide_shards() -> None:
    found = recipe(method="full", precision="bf16 mixed", parallelism="FSDP full-shard", n_gpus="8")
    assert found.request.precision == "bf16-mixed"
    assert traced_request(found).precision == "bf16"


def test_a_limit_that_samples_may_not_reach_says_nothing_of_peak_and_time() -> None:
    with pytest.raises(NotExpressible, match="length"):
        recipe(seq_len="4096", seq_len_note="max 4096, variable length")
    known = recipe(seq_len="4096", seq_len_note="max 4096, variable length, mean 300")
    assert known.memory is None
    assert known.samples.mean_length == 300


@pytest.mark.parametrize(
    "cells",
    [
        {"oom": "yes (>80GB)"},
        {"framework": "MaxText"},
        {"model": "nobody/no-such-model"},
        {"micro_batch": "", "grad_accum": ""},
        {"peak_memory_gb": "", "throughput": ""},
        {"parallelism": "TP8 PP1", "n_gpus": "8"},
    ],
)
def test_rows_that_are_not_expressible(cells: dict[str, str]) -> None:
    with pytest.raises(NotExpressible):
        recipe(**cells)


def test_statistics_count_false_fits() -> None:
    found = statistics([-0.2, -0.05, 0.0, 0.3], fits=True)
    assert found["rows"] == 4
    assert found["median"] == pytest.approx(0.125)
    assert found["worst"] == 0.3
    assert found["false_fits"] == 0.25
    assert statistics([], fits=False) == {"rows": 0, "median": None, "p90": None, "worst": None}


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        ({"peak_memory_gb": "40", "params_b": "6.74"}, True),
        ({"peak_memory_gb": "60", "params_b": "6.74"}, False),
        ({"peak_memory_gb": "40", "params_b": "6.74", "optimizer": "8-bit AdamW"}, False),
        ({"peak_memory_gb": "40"}, False),
    ],
)
def test_memory_below_what_adamw_takes_is_no_measure(cells: dict[str, str], refused: bool) -> None:
    found = recipe(method="full", **cells)
    assert ("moments" in found.memory_refusal) == refused


def test_partial_rows_stay_out_of_the_headline() -> None:
    assert not Outcome(row=Row(table="a.csv", number=1, cells={"id": "b", "confidence": "partial"})).is_complete
    assert Outcome(row=Row(table="a.csv", number=1, cells={"id": "a", "confidence": "complete"})).is_complete
