"""Bytes that one token leaves behind for the backward pass in one transformer layer.

Tensor by tensor, after Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1: 34 bytes per token and hidden unit for a
16-bit GPT layer), changed for what transformers runs today: scaled_dot_product_attention in place of the length^2
terms, gated MLPs, RMSNorm as a chain of ops, autocast copies, and LoRA, which keeps no input of a frozen weight.
Legend: H hidden_size, W width of all heads, I intermediate_size, S length in tokens.
"""

from __future__ import annotations

from manager.workload.layers import adapted_linears, attention_width
from manager.workload.precision import Precision, precision_regime
from manager.workload.profile import WorkloadProfile

_FLOAT32 = 4
_CHAINED_ACTIVATIONS = frozenset({"gelu_new", "gelu_fast", "quick_gelu", "gelu_10", "mish"})
"""Written as several ops in transformers: about 6 saved tensors where a fused kernel saves 1 (traced on gpt2)."""
_EXTRA_TENSORS_OF_A_CHAIN = 5


def saved_bytes_per_token(profile: WorkloadProfile, *, length: int, is_cpu: bool) -> float:
    """Bytes saved per token and layer while training; 0 for a frozen backbone, which builds no graph."""
    if profile.method == "frozen":
        return 0.0
    regime = precision_regime(profile.precision)
    return (
        _linear_inputs(profile, regime, is_cpu=is_cpu)
        + _attention(profile, regime, length=length, is_cpu=is_cpu)
        + _mlp(profile, regime)
        + 2 * _norm(profile, regime)
        + 2 * _dropout_mask(profile, regime, is_cpu=is_cpu)
    )


def saved_bytes_outside_layers(profile: WorkloadProfile, *, is_cpu: bool) -> float:
    """Bytes saved per token before the first layer and after the last: one norm, one mask, token ids (8 bytes)."""
    if profile.method == "frozen":
        return 0.0
    regime = precision_regime(profile.precision)
    return _norm(profile, regime) + _dropout_mask(profile, regime, is_cpu=is_cpu) + 8


def stashed_bytes_per_token(profile: WorkloadProfile) -> int:
    """Bytes that gradient checkpointing keeps per token and layer: its input, H (Chen et al. 2016,
    arXiv:1604.06174)."""
    return profile.hidden_size * precision_regime(profile.precision).residual


def working_bytes_per_token(profile: WorkloadProfile, *, length: int, is_cpu: bool, is_training: bool = True) -> float:
    """Bytes of what is alive beside saved tensors while one layer runs: gradients, or tensors of an evaluation.

    The widest place is the MLP: I twice, three times when gated, beside the residual; on a CPU with dropout on
    attention weights it may be the scores.
    """
    regime = precision_regime(profile.precision)
    inner = (3 if profile.gated_mlp else 2) * profile.intermediate_size * regime.compute
    attention = 4.0 * attention_width(profile) * regime.compute
    if _materialises_scores(profile, is_cpu=is_cpu and is_training):
        attention += 2.0 * profile.attention_heads * length * regime.compute
    return 2 * profile.hidden_size * regime.residual + max(inner, attention)


def _linear_inputs(profile: WorkloadProfile, regime: Precision, *, is_cpu: bool) -> float:
    if profile.method == "lora":
        return _adapter_inputs(profile, regime, is_cpu=is_cpu)
    # Under autocast each product casts its own copy of a 4-byte input; otherwise they share one.
    shared = regime.residual == regime.compute
    attention_copies = 1 if shared else 3
    mlp_copies = 1 if shared or not profile.gated_mlp else 2
    # The input of `output` is SDPA's result, saved there.
    return ((attention_copies + mlp_copies) * profile.hidden_size + profile.intermediate_size) * regime.compute


def _adapter_inputs(profile: WorkloadProfile, regime: Precision, *, is_cpu: bool) -> float:
    """Inputs of the A matrices (copies behind a dropout of their own, each with its mask) and of the B matrices."""
    rank = profile.lora_rank or 0
    adapted = adapted_linears(profile)
    inner = rank * len(adapted) * regime.compute
    if profile.lora_dropout > 0:
        mask = regime.compute if is_cpu else 1
        return inner + sum(linear.inputs for linear in adapted) * (regime.compute + mask)
    shared = regime.residual == regime.compute
    widths: dict[str, int] = {}
    for linear in adapted:
        group = _input_group(linear.role) if shared else linear.role
        if group != "output":
            widths[group] = linear.inputs
    return inner + sum(widths.values()) * regime.compute


def _input_group(role: str) -> str:
    if role in ("query", "key", "value"):
        return "attention"
    return "mlp" if role in ("gate", "up") else role


def _attention(profile: WorkloadProfile, regime: Precision, *, length: int, is_cpu: bool) -> float:
    """Query, key, value (repeated to all heads) and result of SDPA: 4 W; its float mask: S per token."""
    saved = (4.0 * attention_width(profile) + length) * regime.compute
    if _materialises_scores(profile, is_cpu=is_cpu):
        # Softmax, noise and their product for all heads; scaled query and key.
        saved += (3.0 * profile.attention_heads * length + 2.0 * attention_width(profile)) * regime.compute
    return saved


def _materialises_scores(profile: WorkloadProfile, *, is_cpu: bool) -> bool:
    """Whether length^2 terms exist: models without SDPA, and torch's CPU kernel, which has no dropout."""
    dropout_on_cpu = is_cpu and profile.attention_dropout > 0 and profile.method != "frozen"
    return dropout_on_cpu or not profile.fused_attention


def _mlp(profile: WorkloadProfile, regime: Precision) -> float:
    """Input of the activation; gated: its result and the other factor too; chains of ops save more."""
    tensors = 3 if profile.gated_mlp else 1
    if profile.activation in _CHAINED_ACTIVATIONS:
        tensors += _EXTRA_TENSORS_OF_A_CHAIN
    return tensors * profile.intermediate_size * regime.compute


def _norm(profile: WorkloadProfile, regime: Precision) -> float:
    """LayerNorm is one kernel that saves its input; RMSNorm of decoders saves a float32 input and the scaled result."""
    hidden = profile.hidden_size
    if profile.family == "encoder" or not profile.gated_mlp:
        return hidden * regime.residual
    scaled = hidden * regime.residual if profile.method == "full" else 0
    return hidden * _FLOAT32 + scaled


def _dropout_mask(profile: WorkloadProfile, regime: Precision, *, is_cpu: bool) -> float:
    """One byte per element on a GPU (native_dropout); on a CPU the noise is kept in the compute type."""
    if profile.hidden_dropout <= 0:
        return 0.0
    return profile.hidden_size * (regime.compute if is_cpu else 1)
