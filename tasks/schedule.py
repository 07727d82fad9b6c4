"""The learning rate as a pure function of the step, so that a checkpoint needs no scheduler state."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, *, total_steps: int, warmup_ratio: float, schedule: str) -> float:
    """What the peak learning rate is multiplied by at a step.

    Rises linearly over the first `warmup_ratio * total_steps` steps, then falls to 0 after the last step (linear,
    cosine) or stays (constant).

    Args:
        step: optimizer steps already done, from 0.
        total_steps: of the whole run.
        warmup_ratio: share of the steps, 0 to 1.
        schedule: linear, cosine or constant.

    Raises:
        ValueError: unknown schedule.
    """
    warmup_steps = math.ceil(warmup_ratio * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "constant":
        return 1.0
    raise ValueError(f"unknown schedule {schedule!r}")
