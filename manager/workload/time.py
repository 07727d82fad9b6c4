"""Seconds of device time: roofline of matrix products and element-wise ops, under a floor for issuing ops.

Time of one micro-batch = max(FLOPs / reached FLOP/s + bytes / reached bytes/s, ops x seconds per op), after the
roofline model (Williams et al. 2009, doi:10.1145/1498765.1498785) with two classes of ops, since products and
element-wise kernels follow one another and do not overlap. The floor is the host, which needs about 20 us to issue an
op in eager mode; it, not the GPU, sets the time of short sequences. These are single figures; the band around them is
the planner's.
"""

from __future__ import annotations

from manager.workload.activations import saved_bytes_per_token, working_bytes_per_token
from manager.workload.device import Device
from manager.workload.flops import forward_flops, training_flops
from manager.workload.layers import adapted_linears
from manager.workload.precision import precision_regime
from manager.workload.profile import WorkloadProfile

_PASSES_PER_SAVED_BYTE = 4.5
"""Reads and writes of element-wise kernels, forward and backward, per saved byte: counted on a BERT layer (dropout,
add, LayerNorm, GELU and their gradients touch 52 H where 16 H are saved), more where norms are chains of ops."""
_FORWARD_SHARE_OF_PASSES = 1 / 3
_OPS_PER_LAYER_FORWARD = {"encoder": 24, "decoder": 44}
"""Kernels of one layer's forward pass in transformers, eager: norms of decoders and rotary embeddings are chains."""
_AUTOCAST_OPS_PER_LAYER = 14
_OPS_PER_ADAPTER = 6
_BACKWARD_OPS_PER_FORWARD_OP = 1.6
_OPS_OUTSIDE_LAYERS = 40
_OPS_PER_UPDATE = 60
"""Clipping, fused AdamW, schedule, zeroing, reading the loss."""
_UPDATE_PASSES = 10
"""Reads and writes of one element per trainable parameter: fused AdamW 7 (p, g, m, v in; p, m, v out), clipping 3."""


def step_seconds(profile: WorkloadProfile, device: Device, *, micro_batch: int, replicas: int = 1) -> float:
    """Seconds of one optimizer step on `replicas` equal devices, each with its share of the batch; no communication."""
    share = profile.batch_size / replicas
    passes = max(1.0, share / micro_batch)
    return passes * _training_pass_seconds(profile, device, samples=micro_batch) + _update_seconds(profile, device)


def evaluation_seconds(
    profile: WorkloadProfile, device: Device, *, samples: int, micro_batch: int, replicas: int = 1
) -> float:
    """Seconds of one evaluation of so many samples (forward passes over samples of the mean length)."""
    # The training program evaluates with twice the micro-batch.
    rows = 2 * micro_batch
    passes = samples / (rows * replicas)
    length = profile.data.padded_mean_tokens
    flops = forward_flops(profile, samples=rows, tokens_per_sample=length)
    moved = rows * length * profile.layers * _forward_bytes_per_token(profile, is_cpu=device.is_cpu)
    busy = flops / device.matmul_flops_per_s + moved / device.memory_bytes_per_s
    return passes * max(busy, _forward_ops(profile) * device.issue_s_per_op)


def _training_pass_seconds(profile: WorkloadProfile, device: Device, *, samples: int) -> float:
    length = profile.data.padded_mean_tokens
    tokens = samples * length
    flops = training_flops(profile, samples=samples, tokens_per_sample=length)
    if profile.method == "frozen":
        per_token = _forward_bytes_per_token(profile, is_cpu=device.is_cpu)
        ops = _forward_ops(profile) + _OPS_OUTSIDE_LAYERS
    else:
        repeats = 1 + (_FORWARD_SHARE_OF_PASSES if profile.gradient_checkpointing else 0.0)
        saved = saved_bytes_per_token(profile, length=round(length), is_cpu=device.is_cpu)
        per_token = saved * _PASSES_PER_SAVED_BYTE * repeats
        forwards = 2 if profile.gradient_checkpointing else 1
        ops = _forward_ops(profile) * (forwards + _BACKWARD_OPS_PER_FORWARD_OP)
    moved = tokens * profile.layers * per_token
    busy = flops / device.matmul_flops_per_s + moved / device.memory_bytes_per_s
    return max(busy, ops * device.issue_s_per_op)


def _update_seconds(profile: WorkloadProfile, device: Device) -> float:
    moved = profile.trainable_parameters * _UPDATE_PASSES * precision_regime(profile.precision).weight
    return max(moved / device.memory_bytes_per_s, _OPS_PER_UPDATE * device.issue_s_per_op)


def _forward_bytes_per_token(profile: WorkloadProfile, *, is_cpu: bool) -> float:
    """Bytes that element-wise kernels of one layer move in a forward pass that saves nothing."""
    regime = precision_regime(profile.precision)
    residual = 8 * profile.hidden_size * regime.residual
    return residual + 2 * working_bytes_per_token(profile, length=round(profile.data.padded_mean_tokens), is_cpu=is_cpu)


def _forward_ops(profile: WorkloadProfile) -> float:
    per_layer = _OPS_PER_LAYER_FORWARD["decoder" if profile.family == "decoder" else "encoder"]
    if precision_regime(profile.precision).weight_copy:
        per_layer += _AUTOCAST_OPS_PER_LAYER
    per_layer += _OPS_PER_ADAPTER * len(adapted_linears(profile))
    return profile.layers * per_layer + _OPS_OUTSIDE_LAYERS
