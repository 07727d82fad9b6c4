"""Facts: what single frameworks do that their rows do not say, each with where it can be read.

Owns small overrides, tried in order; a fact is about code that anyone can look up, never a factor that makes a source
fit. A row of a framework that is not here is taken as plain transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.published.rows import Row
from tests.bench.published.words import has


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What differs from a plain loop around a transformers model."""

    fused: bool = False
    """Whether kernels of the step are fused (compiled, Liger, Unsloth, TE): memory of the eager step is an upper bound
    and is not predicted; time uses the constants of fused software."""
    kernels: str = ""
    """Name of the fused kernels, for the reason."""
    upcast_logits: bool = True
    adapter_precision: str = "same"
    lora_dropout: float = 0.05
    attention: str | None = None
    """Instead of what the row says."""
    optimizer: str | None = None
    checkpointing: bool | None = None
    """Where the row does not say."""
    padded: bool | None = None
    untied: bool = False
    """Whether the head has weights of its own though the published model ties it."""
    chunked_loss: bool = False
    grad_scaler: bool = False
    sources: tuple[str, ...] = ()


def facts_of(row: Row) -> Facts:
    """Overrides for one row."""
    framework = " ".join((row.text("framework"), row.text("source"), row.text("compile"), row.text("attention")))
    for pattern, facts in _RULES:
        if has(pattern, framework):
            return facts
    if row.text("compile") and not has(r"^(no|none|false|eager|off|0)", row.text("compile")):
        return Facts(fused=True, kernels="torch.compile")
    return Facts()


_LITGPT = Facts(
    # Fabric converts the outputs of the module to float32 (lightning/fabric/plugins/precision/half.py, convert_output).
    upcast_logits=True,
    untied=True,
    padded=False,
    sources=(
        "litgpt/finetune/lora.py: logits in chunks of 128 tokens, kept until the loss",
        "litgpt/model.py: lm_head has weights of its own",
    ),
)
_RULES: tuple[tuple[str, Facts], ...] = (
    (r"thunder", Facts(fused=True, kernels="Thunder")),
    (r"unsloth", Facts(fused=True, kernels="Unsloth")),
    (r"lit-?gpt", _LITGPT),
    (r"liger", Facts(fused=True, kernels="Liger")),
    (r"foak|fast[- ]kernels", Facts(fused=True, kernels="fused ops and kernels")),
    (r"scattermoe|megablocks", Facts(fused=True, kernels="ScatterMoE")),
    (r"\bte\b|transformer engine|nemo|megatron", Facts(fused=True, kernels="Transformer Engine")),
    (r"maxtext|maxdiffusion|torch[_-]xla|tpu|jax|flax", Facts(fused=True, kernels="XLA")),
    (r"optimum-habana|gaudi", Facts(fused=True, kernels="the graph compiler of Gaudi")),
    (r"apex", Facts(fused=False, optimizer="adamw")),
)
