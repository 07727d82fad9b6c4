"""Parameter counts of configs, from the modules that transformers builds on meta tensors (no memory, no weights)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig
from transformers.models import auto

_CLASSES = {
    "Model": "AutoModel",
    "CausalLM": "AutoModelForCausalLM",
    "Seq2SeqLM": "AutoModelForSeq2SeqLM",
    "ImageClassification": "AutoModelForImageClassification",
    "CTC": "AutoModelForCTC",
    "SpeechSeq2Seq": "AutoModelForSpeechSeq2Seq",
    "ImageTextToText": "AutoModelForImageTextToText",
}
_IMAGENET_LABELS = 1000


def backbone_parameters(config: Mapping[str, Any], tasks: tuple[str, ...]) -> int:
    """What the column `parameters` of the table of models holds."""
    if "text-classification" in tasks:
        return _count(_on_meta("AutoModelForSequenceClassification", config).base_model)
    return _count(_on_meta("AutoModel", config))


def published_count(config: Mapping[str, Any], counted: str) -> int:
    """Parameters as a model page counts them.

    `Model+head` is the base model and an untied head: the files of Flan-T5 and mT5 hold one, while transformers 5 ties
    it to the embeddings in any case.
    """
    if counted == "Model+head":
        return _count(_on_meta("AutoModel", config)) + int(config["vocab_size"]) * int(config["d_model"])
    labels = {"num_labels": _IMAGENET_LABELS} if counted == "ImageClassification" else {}
    return _count(_on_meta(_CLASSES[counted], {**config, **labels}))


def _on_meta(auto_class: str, config: Mapping[str, Any]) -> Any:
    fields = dict(config)
    built = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        return getattr(auto, auto_class).from_config(built)


def _count(module: Any) -> int:
    return sum(int(parameter.numel()) for parameter in module.parameters())
