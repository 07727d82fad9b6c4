"""Floating-point operations of training and evaluation, counted per matrix product.

A product of (tokens x inputs) with (inputs x outputs) counts 2 x tokens x inputs x outputs (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1). Attention adds 4 x length x width per token for QK^T and the weighted sum of V, without
a discount for causal masks (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B): with a padding mask torch
computes all of it. The backward pass costs two forward passes, one for the gradient of inputs and one for that of
weights, and checkpointing one more forward pass (Korthikanti et al. 2022, arXiv:2205.05198, appendix A).
"""

from __future__ import annotations

from manager.workload.layers import adapted_linears, attention_width, dense_parameters
from manager.workload.profile import WorkloadProfile

_ADAMW_FLOPS_PER_PARAMETER = 12
"""Multiplications, additions, root and divisions of Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2."""


def forward_flops(profile: WorkloadProfile, *, samples: float, tokens_per_sample: float) -> float:
    """FLOPs of one forward pass over padded samples, adapters and head included."""
    tokens = samples * tokens_per_sample
    return (
        2.0 * tokens * dense_parameters(profile)
        + _attention_flops(profile, tokens=tokens, length=tokens_per_sample)
        + 2.0 * tokens * _adapter_parameters(profile)
        + _head_flops(profile, samples=samples, tokens=tokens)
    )


def training_flops(profile: WorkloadProfile, *, samples: float, tokens_per_sample: float) -> float:
    """FLOPs of forward and backward over padded samples, by method; without the optimizer.

    frozen: no backward below the head. lora: no gradients of the base's weights; the gradient of inputs is counted for
    every layer, though the first one needs none. Checkpointing repeats the forward pass of the layers.
    """
    tokens = samples * tokens_per_sample
    head = _head_flops(profile, samples=samples, tokens=tokens)
    dense = 2.0 * tokens * dense_parameters(profile)
    attention = _attention_flops(profile, tokens=tokens, length=tokens_per_sample)
    adapters = 2.0 * tokens * _adapter_parameters(profile)
    if profile.method == "frozen":
        return dense + attention + 3.0 * head
    base_passes = 2.0 if profile.method == "lora" else 3.0
    again = 1.0 if profile.gradient_checkpointing else 0.0
    return (base_passes + again) * dense + (3.0 + again) * attention + (3.0 + again) * adapters + 3.0 * head


def optimizer_flops(profile: WorkloadProfile) -> float:
    """FLOPs of one AdamW update."""
    return float(_ADAMW_FLOPS_PER_PARAMETER * profile.trainable_parameters)


def step_flops(profile: WorkloadProfile) -> float:
    """FLOPs of one optimizer step over the whole batch, at the mean padded length of the training samples."""
    length = profile.data.padded_mean_tokens
    training = training_flops(profile, samples=profile.batch_size, tokens_per_sample=length)
    return training + optimizer_flops(profile)


def evaluation_flops(profile: WorkloadProfile) -> float:
    """FLOPs of all evaluations: baseline and final on test, intervals on validation."""
    data = profile.data
    samples = 2 * data.test_samples + profile.evaluations * data.validation_samples
    return forward_flops(profile, samples=samples, tokens_per_sample=data.padded_mean_tokens)


def _attention_flops(profile: WorkloadProfile, *, tokens: float, length: float) -> float:
    return 4.0 * tokens * length * attention_width(profile) * profile.layers


def _adapter_parameters(profile: WorkloadProfile) -> int:
    if profile.lora_rank is None:
        return 0
    per_layer = sum(linear.adapter_parameters(profile.lora_rank) for linear in adapted_linears(profile))
    return profile.layers * per_layer


def _head_flops(profile: WorkloadProfile, *, samples: float, tokens: float) -> float:
    # Decoders of transformers score every token and pick the last one; encoders pool first.
    rows = tokens if profile.family == "decoder" else samples
    return 2.0 * rows * profile.head_parameters
