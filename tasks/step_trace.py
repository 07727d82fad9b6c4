"""What the tracer is asked and what it answers: the exact work and memory of one training step, for any batch.

Owns the format only; standard library only, because the manager computes with it and loads no torch. Made by
`python -m tasks.profile` (`tasks/tracing/`), evaluated by `manager/workload/`.

Legend: B samples of a micro-batch on one device, S length of a sample. S is tokens (padding included) for text,
1 for images (their size is part of the request), samples of the waveform for audio that is read raw, tokens of the
transcript for speech models that read a spectrogram, tokens of the text for vision-language models, where those of the
one image of a sample come on top. Every quantity is a polynomial in B, S, B*S, S^2 and B*S^2 with a
constant (S and S^2 alone: positions and masks that the batch shares); LoRA traces may carry terms in the rank R too.
A chunked loss runs slice by slice: K tokens of the first, which is the largest, C slices; M is 1 and KM is K with more
than one slice, else 0. They follow from B*S and the trainer's size of a slice. Use `evaluate`, which knows every
monomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tasks.job import MethodChoice
from tasks.sample_units import CHUNK_TOKENS

TRACE_VERSION = 1
TRACED_WITH = ("torch", "transformers", "peft")
"""Packages whose versions a trace depends on."""

TASKS = (
    "text-classification",
    "causal-lm",
    "masked-lm",
    "seq2seq-lm",
    "image-classification",
    "audio-classification",
    "speech-ctc",
    "speech-seq2seq",
    "contrastive",
    "image-text-to-text",
)
PRECISIONS = ("fp32", "bf16-mixed", "fp16-mixed", "bf16", "fp16")
"""Mixed: autocast over fp32 weights. bf16, fp16: weights, gradients and optimizer state in 2 bytes too."""
OPTIMIZERS = ("adamw", "adamw-foreach", "adamw-loop", "adamw-8bit", "adafactor", "sgd", "sgd-momentum")
"""adamw: fused."""
ATTENTIONS = ("auto", "eager", "math", "efficient", "flash")
"""auto: scaled_dot_product_attention with the kernel CUDA would choose; eager: the model's own matrix products."""
LOSSES = ("plain", "chunked")
"""plain: logits of the whole micro-batch at once; chunked: in slices of tokens, recomputed in the backward pass."""

DEVIATIONS = (
    "outputs-kept",
    "float32-around-4bit",
    "head-in-4bit",
    "quantized-once",
    "inputs-of-4bit-kept",
    "softmax-inputs-kept",
    "half-weights-in-autocast",
    "norms-in-float32",
    "logits-copied",
    "cache-kept",
    "weights-not-decayed",
)
"""outputs-kept: logits live until the step ends, as in `out = model(...); out.loss.backward()`. float32-around-4bit:
tensors outside the layers in 4 bits are float32 (peft.prepare_model_for_kbit_training). head-in-4bit: the head is
quantized too. quantized-once: scales stay float32. inputs-of-4bit-kept: frozen layers save their inputs
(bitsandbytes before 0.43). softmax-inputs-kept: softmax saves its input beside its result (torch before 1.11).
half-weights-in-autocast: autocast around weights of 2 bytes, whose norms and losses then return float32.
norms-in-float32: weights of norms are float32 (TRL, peft_module_casting_to_bf16). logits-copied: the loss takes a copy
of the logits (transformers before 4.48). cache-kept: keys and values are cached in training (GPTBigCode's old code).
weights-not-decayed: the optimizer has no weight decay, which SGD adds to a copy of the gradients."""

PHASES = ("forward", "backward", "update", "evaluation")
"""Evaluation: the model over a batch, and for causal-lm the scoring of its first sample, one after the other in a run;
the ops of scoring are those that have S and no B in them and that the forward pass of training does not have."""
LINES = (
    "gradients",
    "weight_copies",
    "activations",
    "checkpoint_stash",
    "loss_chain",
    "temporaries",
    "inputs",
)
"""Lines of memory that change within a step; weights and optimizer state stand beside them."""
OP_KINDS = ("matmul", "attention", "convolution", "memory", "update")
"""What limits an op: matrix units, fused attention, convolution, bandwidth; update: the optimizer's own kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One training step to be traced, apart from batch and length."""

    config: dict[str, Any]
    """A parsed config.json; `model_type` says which architecture. `timm_wrapper` with `architecture` is timm's."""
    task: str
    method: MethodChoice
    precision: str
    num_labels: int = 2
    optimizer: str = "adamw"
    gradient_checkpointing: bool = False
    attention: str = "auto"
    loss: str = "plain"
    padded: bool = True
    """Whether batches carry an attention mask with padding; False: full sequences (packed), no mask."""
    adapter_precision: str = "same"
    """`same`: adapters in the weights' type, as our program trains; `fp32`: as PEFT casts them by default."""
    target_share: float = 0.25
    """seq2seq-lm: length of the target over the length of the source."""
    image_size: int | None = None
    """Pixels along one edge; None: the config's own, else 224. image-text-to-text: of the image that the processor is
    given; None: where it makes the same of images of any size."""
    upcast_logits: bool = True
    """Whether the loss runs on a float32 copy of the logits."""
    layers: int | None = None
    """Number of layers instead of the config's; None: the config's."""
    deviations: tuple[str, ...] = ()
    """What programs of others do otherwise than ours; names from DEVIATIONS."""
    kernels: str = "cuda"
    """Whose kernels run: `cuda`, or `cpu` (dropout keeps its noise in the compute type, attention with dropout keeps
    the scores, no autocast cache on a GPU)."""


Polynomial = dict[str, float]
"""Coefficients by monomial: `1`, `B`, `S`, `BS`, `SS`, `BSS`, for LoRA `R` and `BSR`, for a chunked loss `K`, `C`, `M`
and `KM`; missing is 0."""
MONOMIALS = ("1", "B", "S", "BS", "SS", "BSS", "R", "BSR", "K", "C", "M", "KM")
_ROUNDING = 1e-9


def slices_of(tokens: float) -> int:
    """Slices into which a chunked loss cuts the tokens of a micro-batch."""
    return max(1, math.ceil(tokens / CHUNK_TOKENS - _ROUNDING))


def monomials(batch: float, length: float, rank: float = 0.0, *, slices: int | None = None) -> dict[str, float]:
    """Values of all monomials, in the order of MONOMIALS.

    Args:
        batch: samples of a micro-batch.
        length: of a sample.
        rank: of LoRA.
        slices: equal ones, as the tracer cuts small batches; None: those of the trainer.
    """
    tokens = batch * length
    count = slices_of(tokens) if slices is None else slices
    first = min(tokens, CHUNK_TOKENS) if slices is None else tokens / slices
    more = 1.0 if count > 1 else 0.0
    values = (1.0, batch, length, tokens, length * length, tokens * length, rank, tokens * rank)
    return dict(zip(MONOMIALS, (*values, first, count, more, first * more), strict=True))


def monomials_of_later_slices(batch: float, length: float, rank: float = 0.0) -> dict[str, float]:
    """The same for a slice after the first: K is the mean of their tokens, which is less where the last is a rest."""
    values = monomials(batch, length, rank)
    mean = (values["BS"] - values["K"]) / max(1.0, values["C"] - 1)
    return {**values, "K": mean, "KM": mean}


def evaluate(polynomial: Polynomial, *, batch: float, length: float, rank: float = 0.0) -> float:
    """Value of a polynomial; a loop over many does better with `monomials` once."""
    values = monomials(batch, length, rank)
    return sum(coefficient * values[name] for name, coefficient in polynomial.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPoint:
    """One moment of the step that is the highest for some batch and length."""

    phase: str
    lines: dict[str, Polynomial]
    """Bytes by LINES; weights and optimizer state not among them."""


ANY_LENGTH = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservePoint:
    """What the caching allocator holds beyond the highest sum of tensors, at one batch and length on one device."""

    batch: int
    length: int
    """ANY_LENGTH: nothing grows with the length (images; spectrograms of fixed length)."""
    cached_bytes: int
    """Segments taken from the driver, less the peak of tensors."""
    held_bytes: int
    """The same of segments with a living block at any one time: what cannot be given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpGroup:
    """Equal ops of one phase."""

    phase: str
    kind: str
    dtype: str
    """float32, bfloat16, float16, int8 ...: the type the op computes in."""
    count: int
    flops: Polynomial
    """Floating-point operations of one of them (a multiply-add is two)."""
    bytes: Polynomial
    """Bytes that one of them reads and writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSums:
    """Sums over the trainable tensors, from which the state of any optimizer follows."""

    tensors: int
    elements: int
    bytes: int
    """In the type they are trained in."""
    largest_elements: int
    elements_large: int
    """In tensors of at least 4,096 elements, which 8-bit optimizers quantize."""
    blocks_large: int
    """Blocks of 256 elements in those tensors, each rounded up."""
    factored_elements: int
    """In tensors of two or more dimensions, whose second moment Adafactor factors."""
    factor_elements: int
    """Rows plus columns of those tensors."""
    matrix_elements: int
    """In tensors of two or more dimensions (the same tensors; these decay)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """The answer: what one training step of one micro-batch needs."""

    model_type: str
    task: str
    method: str
    precision: str
    optimizer: str
    """Whose state and update are in `optimizer_state_bytes` and in the update phase."""
    gradient_checkpointing: bool
    attention: str
    """Kernels that were met, with their calls: `flash 24`."""
    loss: str
    padded: bool
    rank: int | None
    """LoRA rank that was traced; None without adapters or where the polynomials carry R."""
    layers: int
    parameters: int
    trainable_parameters: int
    weights_bytes: Polynomial
    """Parameters and buffers on the device (in R for LoRA)."""
    optimizer_state_bytes: Polynomial
    trainable: TensorSums
    """At the traced rank (16 where the polynomials carry R)."""
    memory: tuple[MemoryPoint, ...]
    """Undominated moments of training, and of evaluation (phase `evaluation`)."""
    ops: tuple[OpGroup, ...]
    layer_weight_bytes: int = 0
    """Parameters of the largest repeated layer as stored: what sharded training gathers at once."""
    root_weight_bytes: int = 0
    """Parameters outside repeated layers (embeddings, head) as stored."""
    layer_activation_bytes: Polynomial = field(default_factory=dict)
    """Input of one repeated layer: what a checkpoint stashes per layer."""
    exact: bool = True
    """All layers were recorded, at each point or, with `two_points`, at two; False: extrapolated over layers from small
    traces (exact to rounding)."""
    two_points: bool = False
    """Of an exact trace: the model was recorded whole at the first and the last batch and length; at those between, its
    ops do what their counterparts in a model with two layers in each stack do."""
    image_tokens: int = 0
    """image-text-to-text: what the image of a sample adds to the tokens of its text in the sequence."""
    reserve: tuple[ReservePoint, ...] = ()
    """From a replay of the allocator; empty where none was made."""
    later_slices: tuple[OpGroup, ...] = ()
    """Ops of each slice of a chunked loss after the first, which run C - 1 times as often as they say; see
    `monomials_of_later_slices`."""
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Policies that were applied, for people: `expert routing taken as balanced` ..."""
