"""What a probe may change beside the weights, which it does not, and how that is put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tasks.checkpoint import Rng, capture_rng, restore_rng
from tasks.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """A session before its first step."""

    buffers: dict[str, torch.Tensor]
    """Copies: running statistics move in each forward pass of training."""
    rates: list[float]
    """Learning rate of each group of the optimizer."""
    scaler: dict[str, Any] | None
    rng: Rng

    @classmethod
    def of(cls, session: Session) -> Untouched:
        """What a session is like now."""
        scaler = session.scaler
        return cls(
            buffers={name: value.detach().clone() for name, value in session.tuned.model.named_buffers()},
            rates=[float(group["lr"]) for group in session.optimizer.param_groups],
            scaler=None if scaler is None else scaler.state_dict(),
            rng=capture_rng(),
        )

    def put_back(self, session: Session) -> None:
        """Make the session like that again; its optimizer has no state before the first step."""
        session.optimizer.zero_grad(set_to_none=True)
        session.optimizer.state.clear()
        for group, rate in zip(session.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate
        with torch.no_grad():
            for name, value in session.tuned.model.named_buffers():
                if name in self.buffers:
                    value.copy_(self.buffers[name])
        if session.scaler is not None and self.scaler is not None:
            session.scaler.load_state_dict(self.scaler)
        restore_rng(self.rng)
