"""WorkloadProfile: what a run demands of any machine, apart from all machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStats:
    """The data set as the tokenizer sees it, after truncation to max_length."""

    train_samples: int
    validation_samples: int
    test_samples: int
    labels: tuple[str, ...]
    mean_tokens: float
    """Tokens of a training sample, mean."""
    longest_tokens: int
    padded_mean_tokens: float
    """Tokens of a training sample, padding included, with length-grouped batches of the asked size."""
    truncated_share: float
    """Share of the training samples longer than max_length, 0 to 1."""
    bytes: int
    """Size of the source, to be moved to the machine."""
    sha256: str | None
    """None when the data was not read (a hub id or a bucket, before the run)."""
    basis: str
    """How the figures came about, for people: `all samples tokenized`, `estimated at 4 characters a token` ..."""
    measured: bool
    """False when lengths are estimated: intervals widen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLines:
    """Peak memory of one accelerator in bytes, by component; they add up to the total."""

    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    """Saved for backward, at the longest batch."""
    loss_chain: int
    """Logits, their float32 copy and gradient."""
    temporaries: int
    """Work buffers of the largest op and of the optimizer step."""
    context: int
    """CUDA context and libraries (0 on a CPU, where the process's own size counts instead)."""
    allocator_reserve: int
    """Reserved by the caching allocator beyond what is allocated."""

    @property
    def total(self) -> int:
        """Bytes that must be free on the accelerator."""
        return (
            self.weights
            + self.gradients
            + self.optimizer_state
            + self.activations
            + self.loss_chain
            + self.temporaries
            + self.context
            + self.allocator_reserve
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadProfile:
    """What the run demands; micro-batch and machine enter later (`workload.memory`, `workload.time`)."""

    model: str
    """Name of the model for people."""
    family: str
    """`encoder` or `decoder`."""
    method: str
    precision: str
    parameters: int
    trainable_parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    key_value_heads: int
    vocabulary_size: int
    num_labels: int
    gated_mlp: bool
    lora_rank: int | None
    gradient_checkpointing: bool
    batch_size: int
    """Samples per optimizer step over all devices."""
    steps: int
    """Optimizer steps of the whole run."""
    evaluations: int
    """Evaluations on validation, without baseline and final."""
    samples_seen: int
    """Training samples over all epochs."""
    data: DataStats
    flops_per_step: float
    """Floating-point operations of forward, backward and update for one global batch of mean length."""
    flops_evaluation: float
    """Of all evaluations together: baseline, intervals, final."""
    tokens_per_epoch: int
    """Without padding."""
    weights_bytes: int
    """Of the files to be moved to the machine."""
    checkpoint_bytes: int
    """One checkpoint: weights or adapter, optimizer state."""
    basis: str
    """How FLOPs and memory came about, for people, with the formula's source."""
