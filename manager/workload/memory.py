"""Peak memory of one accelerator by component, and the largest micro-batch that fits.

Closed formulas, to be replaced by tracing. Sources: weights, gradients and AdamW state by precision regime
(`workload.precision`), activations (`workload.activations`), and as constants the CUDA context and the allocator's
reserve. The peak is taken at the longest sample, whereas time follows the mean. Nothing here can shrink when batch,
length or rank grow: gradients are always counted in full, though with one micro-batch per step the earliest of them
take the place of freed activations.
"""

from __future__ import annotations

from manager.units import GIB
from manager.workload.activations import (
    saved_bytes_outside_layers,
    saved_bytes_per_token,
    stashed_bytes_per_token,
    working_bytes_per_token,
)
from manager.workload.layers import dense_parameters
from manager.workload.precision import precision_regime
from manager.workload.profile import MemoryLines, WorkloadProfile

CUDA_CONTEXT_BYTES = 3 * GIB // 4
"""CUDA context, cuBLAS workspaces, loaded kernels: 0.3 GiB on small GPUs to 1 GiB on Hopper (nvidia-smi, CUDA 12)."""
CPU_PROCESS_BYTES = 11 * GIB // 20
"""Resident size of Python with torch, transformers and the data loader before a model is loaded."""
RESERVE_SHARE = 0.08
"""Reserved by the caching allocator beyond what is allocated; replays of real traces gave 0 to 0.32."""
CPU_RESERVE_SHARE = 0.03
"""Of the C library's heap: MiniLM at 8 and 32 x 256 tokens came within 2 % of the resident size with it."""
_FLOAT32 = 4


def memory_lines(profile: WorkloadProfile, *, micro_batch: int, is_cpu: bool, replicas: int = 1) -> MemoryLines:
    """Peak memory in bytes of one of `replicas` data-parallel devices, with `micro_batch` longest samples.

    A CPU has no context of its own: that line then holds the process itself.
    """
    regime = precision_regime(profile.precision)
    tokens = micro_batch * profile.data.longest_tokens
    trainable = profile.trainable_parameters
    # DistributedDataParallel keeps its buckets beside the gradients.
    gradients = trainable * regime.gradient * (2 if replicas > 1 else 1)
    activations = _activation_bytes(profile, tokens=tokens, is_cpu=is_cpu)
    loss_chain = _loss_chain_bytes(profile, micro_batch=micro_batch, tokens=tokens)
    length = profile.data.longest_tokens
    backward = tokens * working_bytes_per_token(profile, length=length, is_cpu=is_cpu)
    evaluation = 2 * tokens * working_bytes_per_token(profile, length=length, is_cpu=is_cpu, is_training=False)
    # Evaluations take twice the micro-batch and save nothing: the larger of the two peaks counts.
    temporaries = round(max(backward, evaluation - activations - loss_chain))
    weights = profile.parameters * regime.weight + _weight_copy_bytes(profile)
    optimizer_state = trainable * regime.optimizer_state
    allocated = weights + gradients + optimizer_state + activations + loss_chain + temporaries
    return MemoryLines(
        weights=weights,
        gradients=gradients,
        optimizer_state=optimizer_state,
        activations=activations,
        loss_chain=loss_chain,
        temporaries=temporaries,
        context=CPU_PROCESS_BYTES if is_cpu else CUDA_CONTEXT_BYTES,
        allocator_reserve=round(allocated * (CPU_RESERVE_SHARE if is_cpu else RESERVE_SHARE)),
    )


def largest_micro_batch(
    profile: WorkloadProfile,
    *,
    memory_available_bytes: float,
    is_cpu: bool,
    replicas: int = 1,
    memory_factor: float = 1.0,
) -> int | None:
    """Largest power of two that divides one device's share of the batch and fits; None when not even 1 does.

    A micro-batch that the user fixed is the only candidate. `memory_factor` scales the estimate (calibration).
    """
    for micro_batch in micro_batch_candidates(profile, replicas=replicas):
        lines = memory_lines(profile, micro_batch=micro_batch, is_cpu=is_cpu, replicas=replicas)
        if calibrated_bytes(lines, memory_factor, is_cpu=is_cpu) <= memory_available_bytes:
            return micro_batch
    return None


def calibrated_bytes(lines: MemoryLines, memory_factor: float, *, is_cpu: bool) -> float:
    """The estimate times what measured runs say; never less than the estimate.

    On a GPU the factor compares what the allocator holds, so that the CUDA context stays as it is; on a CPU it compares
    the whole process. A factor under 1 was seen at another batch and admits no larger one here.
    """
    factor = max(1.0, memory_factor)
    if is_cpu:
        return lines.total * factor
    return (lines.total - lines.context) * factor + lines.context


def micro_batch_candidates(profile: WorkloadProfile, *, replicas: int = 1) -> tuple[int, ...]:
    """Micro-batches that keep the asked batch size, largest first; empty when the batch cannot be shared evenly."""
    share, rest = divmod(profile.batch_size, replicas)
    if rest or share == 0:
        return ()
    if profile.asked_micro_batch is not None:
        return (min(profile.asked_micro_batch, share),)
    powers = [1]
    while share % (powers[-1] * 2) == 0:
        powers.append(powers[-1] * 2)
    return tuple(reversed(powers))


def _activation_bytes(profile: WorkloadProfile, *, tokens: int, is_cpu: bool) -> int:
    per_layer = saved_bytes_per_token(profile, length=profile.data.longest_tokens, is_cpu=is_cpu)
    outside = saved_bytes_outside_layers(profile, is_cpu=is_cpu)
    if profile.gradient_checkpointing and profile.method != "frozen":
        return round(tokens * (profile.layers * stashed_bytes_per_token(profile) + per_layer + outside))
    return round(tokens * (profile.layers * per_layer + outside))


def _loss_chain_bytes(profile: WorkloadProfile, *, micro_batch: int, tokens: int) -> int:
    """Logits, their float32 copy and gradient; a decoder scores every token before it picks the last."""
    regime = precision_regime(profile.precision)
    pooled = micro_batch * (profile.num_labels * (regime.compute + 2 * _FLOAT32) + 4 * profile.hidden_size * _FLOAT32)
    scored = 2 * tokens * profile.num_labels * regime.compute if profile.family == "decoder" else 0
    return pooled + scored


def _weight_copy_bytes(profile: WorkloadProfile) -> int:
    if profile.method == "frozen":
        return 0
    return dense_parameters(profile) * precision_regime(profile.precision).weight_copy
