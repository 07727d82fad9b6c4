"""Which training step a run takes: from the run file to a request for the tracer; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.spec.model import RunSpec
from tasks.step_trace import TraceRequest

_ATTENTION = {"auto": "auto", "sdpa": "auto", "eager": "eager", "flash_attention_2": "flash"}
_ADAPTER_METHODS = ("lora", "qlora")
FEWEST_LABELS = 2


def trace_request(spec: RunSpec, config: Mapping[str, Any], *, num_labels: int, kernels: str = "cuda") -> TraceRequest:
    """The step of this run on a model with this config.

    Args:
        spec: the run.
        config: a parsed config.json.
        num_labels: classes of the data; fewer than two count as two, as a classifier has them.
        kernels: `cuda` or `cpu`.
    """
    training = spec.training
    return TraceRequest(
        config=dict(config),
        task=spec.task,
        method=spec.method,
        precision=training.precision,
        num_labels=max(FEWEST_LABELS, num_labels),
        optimizer=training.optimizer,
        gradient_checkpointing=training.gradient_checkpointing,
        attention=_ATTENTION[training.attention],
        loss=training.loss,
        padded=not training.packing,
        image_size=training.image_size,
        kernels=kernels,
    )


def adapter_rank(spec: RunSpec) -> int | None:
    """LoRA rank of the run; None for methods without adapters."""
    return spec.method.lora_rank if spec.method.kind in _ADAPTER_METHODS else None
