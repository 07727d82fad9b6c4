"""Names as people publish them: certain ones become ids of the table, all others None."""

import csv
from importlib.resources import files

import pytest

from manager.catalog.model_table import table_names
from manager.catalog.models import resolve_entry
from manager.catalog.names import match_name

CERTAIN = {
    "Llama-2-7b-hf": "meta-llama/Llama-2-7b-hf",
    "LLAMA2-7B": "meta-llama/Llama-2-7b-hf",
    "Llama-2-7B class (4bit)": "meta-llama/Llama-2-7b-hf",
    "NousResearch/Llama-2-70b-hf": "meta-llama/Llama-2-70b-hf",
    "LLaMA-7B": "huggyllama/llama-7b",
    "LLAMA3_8B": "meta-llama/Meta-Llama-3-8B",
    "Llama3 70B 2-node": "meta-llama/Meta-Llama-3-70B",
    "LLAMA3.1_405B": "meta-llama/Llama-3.1-405B",
    "meta-llama/Meta-Llama-3.1-8B": "meta-llama/Llama-3.1-8B",
    "Llama4-Scout-17B-16E": "meta-llama/Llama-4-Scout-17B-16E",
    "bert-base-uncased config (random weights)": "google-bert/bert-base-uncased",
    "BERT-large": "google-bert/bert-large-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "Mistral-7B-v0.1": "mistralai/Mistral-7B-v0.1",
    "Mistral-7B-v0.3": "mistralai/Mistral-7B-v0.3",
    "Mistral-7B (SFT)": "mistralai/Mistral-7B-v0.1",
    "mistralai/Mixtral-8x7B": "mistralai/Mixtral-8x7B-v0.1",
    "t5-small": "google-t5/t5-small",
    "torchvision resnet50": "microsoft/resnet-50",
    "torchvision resnet152 (Lightning)": "microsoft/resnet-152",
    "ResNet50 v1.5": "microsoft/resnet-50",
    "timm focalnet_base_lrf": "microsoft/focalnet-base-lrf",
    "openai/whisper-tiny": "openai/whisper-tiny",
    "OPENAI/WHISPER-TINY": "openai/whisper-tiny",
    "TinyLlama-1.1B": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "stabilityai/stablelm-base-alpha-3b": "stabilityai/stablelm-base-alpha-3b",
    "microsoft/phi-1_5": "microsoft/phi-1_5",
    "phi-1.5": "microsoft/phi-1_5",
    "Qwen3_30B_a3B (tokendrop)": "Qwen/Qwen3-30B-A3B",
    "Qwen2.5 7B": "Qwen/Qwen2.5-7B",
    "GPT OSS 120B": "openai/gpt-oss-120b",
    "Gemma3-12B": "google/gemma-3-12b-pt",
    "DeepSeekV3 (w/o MTP)": "deepseek-ai/DeepSeek-V3",
    "MPT-1b": "config:mpt-1b",
    "openllama-3b": "openlm-research/open_llama_3b",
    "  gpt2-xl  ": "openai-community/gpt2-xl",
}
UNCERTAIN = (
    "",
    " ",
    "7B",
    "model",
    "config",
    "(4bit)",
    "llama",
    "Llama-3",
    "Llama-3-9B",
    "Llama-38B",
    "Llama-3.8B",
    "LLaMA-70B",
    "bert",
    "bert-base-uncased-squad-v1",
    "someone/bert-base-uncased",
    "TheBloke/Mistral-7B-v0.1-GPTQ",
    "Mistral-7B-v0.4",
    "facebook/opt-1.3b + opt-350m critic",
    "opt-13",
    "opt-1-3b",
    "DeepSeekV3 (w/ MTP)",
    "DeepSeekV4 Flash",
    "DINOv2 ViT-g/14 (student+teacher)",
    "BlackMamba-2.8B (630M active)",
    "resnet50d",
    "wide_resnet50_2",
    "resnetv2_50",
    "efficientnet_b2a",
    "tf_efficientnet_b2",
    "efficientnet-widese-b0",
    "convnext_tiny_hnf",
    "stable-diffusion-2 UNet",
    "Transformer-XL",
    "Qwen3-30B",
    "gemma4-26b",
    "x" * 10_000,
    "模型",
    "../../etc/passwd",
)


@pytest.mark.parametrize(("text", "model"), CERTAIN.items())
def test_certain(text: str, model: str) -> None:
    assert match_name(text) == model


@pytest.mark.parametrize("text", UNCERTAIN)
def test_uncertain(text: str) -> None:
    assert match_name(text) is None


def test_each_name_of_the_table_means_itself() -> None:
    for name, model, _ in table_names():
        assert match_name(name) == model


def test_bare_names_of_the_table_never_mean_other_dimensions() -> None:
    configs = {model: config for _, model, config in table_names()}
    for name, _, config in table_names():
        found = match_name(name.rpartition("/")[2])
        assert found is None or configs[found] == config


def test_short_names_point_at_the_table() -> None:
    text = files("manager.catalog").joinpath("data", "model_names.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len({row["name"].casefold() for row in rows}) == len(rows)
    for row in rows:
        assert resolve_entry(row["id"]).name == row["id"]
        assert match_name(row["name"]) == row["id"]
