"""Why a model that was built cannot run its step on meta tensors: the model, the part of it, the cause, what to do.

Libraries raise what they like where an input is missing or types do not fit together; the text of their error stands
in the message, what it means for the request beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import nn

from tasks.step_trace import TraceRequest
from tasks.tracing.refusal import RefusedModel, cause

_MEDIA = ("pixel", "image", "spatial", "patches", "audio", "feature", "video", "grid", "bbox", "input_values")
"""Parts of the names of what models read beside text."""
_UNFIT = ("shape", "size", "dimension")
_MIXED = ("scalar type", "same dtype", "Unsupported dtype", "same reduction dtype")
_PURE = ("bf16", "fp16")


def refused_step(
    error: Exception, request: TraceRequest, model: nn.Module, *, given: Sequence[str] = ()
) -> RefusedModel:
    """The refusal that an error of a step stands for.

    Args:
        error: what the model or its loss raised.
        request: what was traced.
        model: without any method.
        given: names of the inputs that it got.
    """
    name, kind = type(model).__name__, request.config.get("model_type", "timm_wrapper")
    part = _innermost_module(error)
    where = f" in {part}" if part is not None and part != name else ""
    message = f"{name} ({kind}) does not trace for {request.task}{where}: {cause(error)}"
    if any(text in str(error) for text in _MIXED) and request.precision != "fp32":
        other = "fp32" if request.precision not in _PURE else "bf16-mixed or fp32"
        return RefusedModel(
            message,
            field="precision",
            hint=f"It mixes types under {request.precision} and fails in training too: take {other}.",
        )
    if missing := _not_given(model, given):
        return RefusedModel(
            message,
            field=missing[0],
            hint=f"Its forward pass takes {', '.join(missing)} too, which is not traced for {request.task}.",
        )
    is_unfit = isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _UNFIT)
    return RefusedModel(
        message,
        field=part,
        hint="Its dimensions may not fit together: compare them with the config.json of a published model of this type."
        if is_unfit
        else "Its forward or backward pass needs values, which a trace without weights does not have.",
    )


def _not_given(model: nn.Module, given: Sequence[str]) -> list[str]:
    """Inputs of the model's forward pass that it did not get, its main one first."""
    if not given:
        return []
    main = str(getattr(model, "main_input_name", ""))
    missing = [
        name
        for name, parameter in inspect.signature(type(model).forward).parameters.items()
        if name not in (*given, "self")
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and (name == main or parameter.default is inspect.Parameter.empty or any(word in name for word in _MEDIA))
    ]
    return sorted(missing, key=lambda name: name != main)


def _innermost_module(error: BaseException) -> str | None:
    """The class whose forward pass raised."""
    trace, found = error.__traceback__, None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module):
            found = type(owner).__name__
        trace = trace.tb_next
    return found
