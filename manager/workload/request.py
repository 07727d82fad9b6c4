"""Which training step a run takes: from the run file to a request for the tracer; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from tasks.step_trace import TraceRequest

_ATTENTION = {"auto": "auto", "sdpa": "auto", "eager": "eager", "flash_attention_2": "flash"}
_ADAPTER_METHODS = ("lora", "qlora")
FEWEST_LABELS = 2
USUAL_TARGET_SHARE = 0.25
"""Of shipped traces, and where the lengths of targets are not known: TraceRequest's own."""
_MEAN_STEP = 0.125
_TARGET_TASK = "seq2seq-lm"


def trace_request(
    spec: RunSpec,
    config: Mapping[str, Any],
    *,
    num_labels: int,
    kernels: str = "cuda",
    target_share: float = USUAL_TARGET_SHARE,
) -> TraceRequest:
    """The step of this run on a model with this config.

    Args:
        spec: the run.
        config: a parsed config.json.
        num_labels: classes of the data; fewer than two count as two, as a classifier has them.
        kernels: `cuda` or `cpu`.
        target_share: of `target_share_of`; matters to seq2seq-lm alone.
    """
    training = spec.training
    return TraceRequest(
        config=dict(config),
        task=spec.task,
        method=spec.method,
        precision=training.precision,
        num_labels=max(FEWEST_LABELS, num_labels),
        optimizer=training.optimizer,
        gradient_checkpointing=bool(training.gradient_checkpointing),
        attention=_ATTENTION[training.attention],
        loss=training.loss,
        padded=not training.packing,
        image_size=training.image_size,
        kernels=kernels,
        target_share=target_share if spec.task == _TARGET_TASK else USUAL_TARGET_SHARE,
    )


def target_share_of(task: str, data: DataStats) -> float | None:
    """Length of seq2seq targets over that of sources; None where it is not known or there are no targets.

    That of the longest ones, on which memory rests, rounded up to quarters so that data sets share traces.
    """
    if task != _TARGET_TASK or not data.longest_target_tokens or data.longest_tokens <= 0:
        return None
    quarters = math.ceil(data.longest_target_tokens / data.longest_tokens / USUAL_TARGET_SHARE)
    return max(1, quarters) * USUAL_TARGET_SHARE


def mean_target_share_of(task: str, data: DataStats) -> float | None:
    """The same of the mean ones, which time follows, to the nearest eighth; None where it is not known."""
    if task != _TARGET_TASK or not data.mean_target_tokens or data.mean_tokens <= 0:
        return None
    eighths = round(data.mean_target_tokens / data.mean_tokens / _MEAN_STEP)
    return max(1, eighths) * _MEAN_STEP


def target_note(task: str, share: float, mean_share: float, *, is_measured: bool) -> str | None:
    """What the step assumes of seq2seq targets, for people; None for other tasks.

    Args:
        task: of the run.
        share: with which memory is traced.
        mean_share: with which time is traced.
        is_measured: whether `share` is that of the data.
    """
    if task != _TARGET_TASK:
        return None
    how = "as the longest ones of the data" if is_measured else "an assumption, not measured on the data"
    told = f"targets are traced at {share:g} x the length of their source: {how}"
    return told if mean_share == share else f"{told}; time at {mean_share:g} x, as the mean of the data"


def adapter_rank(spec: RunSpec) -> int | None:
    """LoRA rank of the run; None for methods without adapters."""
    return spec.method.lora_rank if spec.method.kind in _ADAPTER_METHODS else None
