"""What FSDP can divide: one rule for the training program and for plans."""

from __future__ import annotations

_WHOLE_STATE = ("adamw-8bit", "adafactor")


def sharding_refusal(*, method: str, optimizer: str, loss: str, precision: str) -> tuple[str, str] | None:
    """The choice that does not go with `training.sharding: fsdp`, and why; None: it can be divided.

    Args:
        method: `method.kind`.
        optimizer: `training.optimizer`.
        loss: `training.loss`.
        precision: `training.precision`.
    """
    if method == "qlora":
        return "method.kind qlora", "weights in 4 bits are not divided"
    if optimizer in _WHOLE_STATE:
        why = "its state belongs to whole tensors, and each device would have a part of them"
        return f"training.optimizer {optimizer}", why
    if loss == "chunked":
        return "training.loss chunked", "it calls the head apart from the model"
    if precision == "fp16-mixed":
        return "training.precision fp16-mixed", "its scale of gradients is not divided"
    return None
