"""The loss of each task for the tracer: the training program's own, and the models' own where it has none.

Shapes: B samples of a micro-batch, T tokens, F frames, V vocabulary.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tasks import losses
from tasks.precision import AUTOCAST, COMPUTE_TYPES
from tasks.sample_units import CHUNK_TOKENS
from tasks.step import Inputs, LossSum
from tasks.step_trace import TraceRequest
from tasks.tracing import autocast
from tasks.tracing.op_facts import is_view
from tasks.tracing.other_programs import KeptResults, copied_loss_sum
from tasks.tracing.refusal import RefusedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """How a chunked loss is cut, and who is told where a slice begins."""

    count: int | None = None
    """Equal slices; None: those of the trainer."""
    on_start: Callable[[], None] | None = None
    """Called as each slice begins, in the forward pass and when it is made again in the backward pass."""


def loss_of(
    request: TraceRequest,
    on_copy: autocast.OnCopy | None = None,
    slices: Slices | None = None,
    kept: KeptResults | None = None,
) -> LossSum:
    """The `tasks.step.LossSum` of a request.

    Args:
        request: what is trained.
        on_copy: is told copies of weights that autocast keeps for a loss.
        slices: of a chunked loss; None: those of the trainer.
        kept: results of layers that live as long as the forward pass.

    Raises:
        RefusedModel: a loss that the task does not have.
    """
    if request.loss == "chunked":
        if request.task != "causal-lm":
            raise RefusedModel(f"A chunked loss is for causal-lm, not {request.task}.", field="loss")
        return functools.partial(
            _chunked_loss_sum, precision=request.precision, on_copy=on_copy, slices=slices or Slices()
        )
    if request.task in ("text-classification", "image-classification", "audio-classification"):
        return losses.classification_loss_sum
    if request.task == "contrastive":
        return contrastive_loss_sum
    if request.task == "speech-ctc":
        return ctc_loss_sum
    if request.task == "causal-lm" and "logits-copied" in request.deviations:
        return copied_loss_sum(is_upcast=request.upcast_logits, kept=kept)
    return functools.partial(
        _token_loss_sum,
        is_next=request.task in ("causal-lm", "image-text-to-text"),
        is_upcast=request.upcast_logits,
        precision=request.precision,
    )


def check_plain_logits(model: nn.Module, inputs: Inputs) -> None:
    """Refuse a chunked loss where the model does more to its logits than its head's product, as training does.

    Training compares the numbers, of which there are none here. A scale of 1 is nothing to either.

    Raises:
        RefusedModel: it does.
    """
    after = _OpsAfter()
    backbone = losses.backbone_and_head(model)[0]
    handle = backbone.register_forward_hook(lambda *_: setattr(after, "is_on", True))
    try:
        with torch.no_grad(), after:
            model(**inputs)
    finally:
        handle.remove()
    more = [name for name in after.names if name not in _OPS_OF_A_HEAD]
    if more or losses.caps_logits(model):
        told = ", ".join(dict.fromkeys(more)) or "a cap"
        raise RefusedModel(
            f"This model does more to its logits than its head's product ({told}), "
            "which a chunked loss would leave out.",
            field="loss",
            hint="Set training.loss to plain.",
        )


_OPS_OF_A_HEAD = frozenset({"mm", "addmm", "bmm", "_to_copy", "clone", "_unsafe_view"})


def _is_scale_of_one(name: str, args: Any) -> bool:
    return name in ("mul", "div") and isinstance(args[1], int | float) and args[1] == 1


class _OpsAfter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the ops that run from a moment on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_on = False
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.is_on and not is_view(func) and not _is_scale_of_one(str(func._opname), args):
            self.names.append(str(func._opname))
        return func(*args, **(kwargs or {}))


def evaluate(request: TraceRequest, model: nn.Module, inputs: Inputs, targets: torch.Tensor) -> None:
    """What an evaluation computes of a micro-batch; language models are scored sample by sample, here the first alone:
    its scoring is the most memory at a time, and `tasks.step_trace` says how its ops are told apart."""
    if request.task != "causal-lm":
        model(**inputs)
        return
    if request.loss == "plain":
        _score(model(**inputs).logits[0], losses.next_tokens(targets)[0])
        return
    with _compute_type(request.precision, None):
        backbone, head = losses.backbone_and_head(model)
        hidden_BTH = backbone(**inputs).last_hidden_state
        _score(head(hidden_BTH[0]), losses.next_tokens(targets)[0])


def ctc_loss_sum(model: nn.Module, inputs: Inputs, targets_BT: torch.Tensor) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006) over all frames, blank 0."""
    logits_BFV = model(**inputs).logits
    logs_FBV = functional.log_softmax(logits_BFV, dim=-1, dtype=torch.float32).transpose(0, 1)
    frames, batch = logs_FBV.shape[0], logs_FBV.shape[1]
    frames_B = torch.full((batch,), frames, dtype=torch.long, device=logs_FBV.device)
    lengths_B = torch.full((batch,), targets_BT.shape[1], dtype=torch.long, device=logs_FBV.device)
    return functional.ctc_loss(logs_FBV, targets_BT, frames_B, lengths_B, reduction="sum", zero_infinity=True)


def contrastive_loss_sum(model: nn.Module, inputs: Inputs, _targets: torch.Tensor) -> torch.Tensor:
    """The model's own symmetric loss over the pairs of the batch (Radford et al. 2021, arXiv:2103.00020)."""
    loss: torch.Tensor = model(**inputs, return_loss=True).loss
    return loss


def _token_loss_sum(
    model: nn.Module, inputs: Inputs, labels_BT: torch.Tensor, *, is_next: bool, is_upcast: bool, precision: str
) -> torch.Tensor:
    targets_BT = losses.next_tokens(labels_BT) if is_next else labels_BT
    if is_upcast:
        return losses.token_loss_sum(model(**inputs).logits, targets_BT)
    flat_NV = model(**inputs).logits.flatten(0, -2)
    # Models that compute their loss themselves do so under the autocast of their forward pass.
    with _compute_type(precision, None):
        return functional.cross_entropy(flat_NV, targets_BT.flatten(), ignore_index=losses.IGNORED, reduction="sum")


def _chunked_loss_sum(
    model: nn.Module,
    inputs: Inputs,
    labels_BT: torch.Tensor,
    *,
    precision: str,
    on_copy: autocast.OnCopy | None,
    slices: Slices,
) -> torch.Tensor:
    """Chunks call the model's parts and not the model, whose own autocast does not reach them."""
    chunk_tokens = CHUNK_TOKENS if slices.count is None else math.ceil(labels_BT.numel() / slices.count)
    with _compute_type(precision, on_copy), _carrying_checkpoints(slices.on_start):
        return losses.causal_lm_loss_sum(model, inputs, labels_BT, chunk_tokens=chunk_tokens)


def _compute_type(precision: str, on_copy: autocast.OnCopy | None) -> contextlib.AbstractContextManager[None]:
    return (
        autocast.meta_autocast(COMPUTE_TYPES[precision], on_copy) if precision in AUTOCAST else contextlib.nullcontext()
    )


@contextlib.contextmanager
def _carrying_checkpoints(on_start: Callable[[], None] | None) -> Iterator[None]:
    """Chunks are made again under the autocast of the forward pass, which torch sees to for real devices."""
    original: Any = getattr(losses, "checkpoint")  # noqa: B009 - a name that the module imports

    def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        carried = autocast.carried(function)

        def run(*parts: Any) -> Any:
            if on_start is not None:
                on_start()
            return carried(*parts)

        return original(run, *args, **kwargs)

    setattr(losses, "checkpoint", checkpoint)  # noqa: B010
    try:
        yield
    finally:
        setattr(losses, "checkpoint", original)  # noqa: B010


def _score(logits_TV: torch.Tensor, targets_T: torch.Tensor) -> None:
    learnt_T = targets_T != losses.IGNORED
    wanted_N, logits_NV = targets_T[learnt_T], logits_TV[learnt_T].float()
    functional.cross_entropy(logits_NV, wanted_N, reduction="sum")
    (logits_NV.argmax(dim=-1) == wanted_N).sum()
