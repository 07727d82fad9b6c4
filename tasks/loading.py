"""Reads a pre-trained model as method, precision and attention ask: in full, or its linear layers in 4 bits.

Owns what is the same for all tasks: which class of transformers loads it and which arguments go with the task are the
task's. It never executes code of a repository.

On an accelerator tensors go there one by one, so that the host need not hold the model. One with a new head is read on
the host first: only there does a seed draw the same numbers on each machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tasks.failures import TaskError
from tasks.job import Job
from tasks.methods import head_modules
from tasks.precision import WEIGHT_TYPES
from tasks.protocol import FailureCode
from tasks.quantized import nf4_config, use_training_kernels

_CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model with what loading it found."""

    model: Any
    """transformers' PreTrainedModel."""
    missing: frozenset[str]
    """Parameters without weights in the folder (or with weights of another shape): drawn anew."""


def load_pretrained(
    auto_class: Any,
    folder: Path,
    job: Job,
    *,
    purpose: str,
    quantize: bool | None = None,
    device: str | None = None,
    **options: Any,
) -> Loaded:
    """The model of a folder; parameters without weights in it are drawn from torch's seed.

    Args:
        auto_class: of transformers: AutoModelForSequenceClassification, say.
        folder: config.json and *.safetensors.
        job: says method, precision, attention and device.
        purpose: what the model is for, in messages: `text classification`.
        quantize: whether linear layers of the base are read in 4 bits; None: as the method says, for training.
        device: `cpu`, or `meta` for names and shapes without values; None: where the job trains.
        options: of the task: num_labels, say.

    Raises:
        TaskError: model_not_found, when the folder holds nothing that can be loaded for this; bad_job, when what the
            job asks for is not installed or not for this device.
    """
    check_attention(job)
    is_quantized = job.method.kind == "qlora" if quantize is None else quantize
    arguments = {
        **options,
        "use_safetensors": True,
        "trust_remote_code": False,
        # A head that was trained for other labels is replaced by a new one.
        "ignore_mismatched_sizes": True,
        "output_loading_info": True,
        "dtype": WEIGHT_TYPES[job.training.precision],
    }
    if job.training.attention != "auto":
        arguments["attn_implementation"] = job.training.attention
    try:
        is_for_training = quantize is None and device is None
        if is_quantized or (is_for_training and _device(job) != _CPU):
            # A model without storage says first which modules have weights.
            shape, report = auto_class.from_pretrained(str(folder), **arguments, device_map="meta")
            missing = _missing(report)
            if is_quantized:
                kept = head_modules(shape, missing)
                arguments["quantization_config"] = nf4_config(job.training.precision, kept)
            if is_quantized or not missing:
                arguments["device_map"] = {"": _device(job)}
        if device == "meta":
            arguments["device_map"] = device
        model, report = auto_class.from_pretrained(str(folder), **arguments)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise TaskError(
            FailureCode.MODEL_NOT_FOUND,
            f"The model cannot be loaded for {purpose}: {str(error).strip().splitlines()[0][:300]}",
            hint="Code of a repository is never executed; the architecture must be one that transformers knows.",
        ) from error
    if is_quantized:
        use_training_kernels(model)
    return Loaded(model=model, missing=_missing(report))


def load_classifier(
    auto_class: Any,
    folder: Path,
    job: Job,
    labels: Sequence[str],
    *,
    purpose: str,
    quantize: bool | None,
    device: str | None = None,
) -> Loaded:
    """The model of a folder with a head for these labels, one of which each sample has; see `load_pretrained`."""
    return load_pretrained(
        auto_class,
        folder,
        job,
        purpose=purpose,
        quantize=quantize,
        device=device,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: at for at, name in enumerate(labels)},
        problem_type="single_label_classification",
    )


def check_attention(job: Job) -> None:
    """Refuse an attention kernel that this machine lacks.

    Raises:
        TaskError: bad_job.
    """
    if job.training.attention != "flash_attention_2":
        return
    hint = "Set training.attention to auto or sdpa; torch brings flash kernels of its own for sdpa."
    if job.device == "cpu" or not torch.cuda.is_available():
        raise TaskError(FailureCode.BAD_JOB, "training.attention flash_attention_2 runs on CUDA only.", hint=hint)
    if importlib.util.find_spec("flash_attn") is None:
        raise TaskError(
            FailureCode.BAD_JOB,
            "training.attention is flash_attention_2, and the package flash-attn is not installed.",
            hint=hint,
        )
    if job.training.precision == "fp32":
        raise TaskError(FailureCode.BAD_JOB, "flash_attention_2 computes in 16 bits, not in fp32.", hint=hint)


def _missing(report: dict[str, Any]) -> frozenset[str]:
    mismatched = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]}
    return frozenset({str(key) for key in report["missing_keys"]} | mismatched)


def _device(job: Job) -> str | int:
    return torch.cuda.current_device() if job.device != "cpu" and torch.cuda.is_available() else _CPU
