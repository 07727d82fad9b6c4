"""What each precision regime of the job file costs in bytes; the regime is an input, never a guess.

fp32: everything in 4 bytes. bf16-mixed: autocast over fp32 weights (Micikevicius et al. 2017, arXiv:1710.03740):
weights, gradients and AdamW's two moments stay in 4 bytes, products run on 2-byte copies, the residual stream stays in
4 bytes because norms run in fp32. bf16: weights, gradients, moments and activations in 2 bytes, adapters included.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Bytes per element of one regime."""

    weight: int
    gradient: int
    optimizer_state: int
    """Both moments of AdamW together."""
    compute: int
    """Outputs of matrix products and what follows them."""
    residual: int
    """The stream between layers, and inputs of norms."""
    weight_copy: int
    """Copies of the weights that autocast keeps for the backward pass; 0: none."""


_REGIMES = {
    "fp32": Precision(weight=4, gradient=4, optimizer_state=8, compute=4, residual=4, weight_copy=0),
    "bf16-mixed": Precision(weight=4, gradient=4, optimizer_state=8, compute=2, residual=4, weight_copy=2),
    "bf16": Precision(weight=2, gradient=2, optimizer_state=4, compute=2, residual=2, weight_copy=0),
}


def precision_regime(name: str) -> Precision:
    """The regime of this name.

    Raises:
        KeyError: no such regime; the run file's reader lets none of those through.
    """
    return _REGIMES[name]
