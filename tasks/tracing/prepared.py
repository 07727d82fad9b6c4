"""A model made ready to train as a request says: method, precision, checkpointing, optimizer; all on meta tensors.

Follows the order of the training program: built in float32, method, then the type of weights, then checkpointing, then
autocast around the forward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import nn

from tasks import precision
from tasks.failures import TaskError
from tasks.methods import TunedModel, apply_method
from tasks.optimizers import new_optimizer
from tasks.positions import STRETCH, stretches_positions
from tasks.precision import cast_weights
from tasks.quantized import elements
from tasks.sample_units import RECORDING_S
from tasks.step import Scaler
from tasks.step_trace import TraceRequest
from tasks.tracing import autocast
from tasks.tracing.batches import PLAIN_TEXT_TASKS
from tasks.tracing.equal_images import leave_encoders
from tasks.tracing.images_in_text import image_notes
from tasks.tracing.layers import layer_count
from tasks.tracing.meta_kernels import Kernels
from tasks.tracing.models import build, repeated_blocks
from tasks.tracing.other_programs import KeptResults, leave_adapter_inputs, widen_norms
from tasks.tracing.quantized import AdamW8bit, quantize_linear_layers
from tasks.tracing.refusal import RefusedModel, first_line
from tasks.tracing.sounds import takes_recordings_of_30_s

WEIGHT_TYPES = {**precision.WEIGHT_TYPES, "fp16": torch.float16}
"""The training program refuses pure fp16; recipes of others use it."""
COMPUTE_TYPES = {**precision.COMPUTE_TYPES, "fp16": torch.float16}
AUTOCAST_TYPES = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01

OnTensor = Callable[[torch.Tensor], None]


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A model as the step takes it."""

    fresh_model: nn.Module
    tuned: TunedModel
    config: Any
    optimizer: torch.optim.Optimizer
    learned: list[nn.Parameter]
    vocabulary: int | None
    layers: int
    parameters: int
    """In the model as it is trained; packed 4-bit weights count as what they stand for."""
    has_adapters: bool
    input_dtype: torch.dtype
    """Of images and sound."""
    scaler: MetaScaler | None
    notes: tuple[str, ...]
    outputs: Any = None
    """Of the last forward pass, where the request keeps them."""
    kept: KeptResults | None = None
    """Of layers, where the request keeps them."""
    _on_weight_copy: list[OnTensor] = field(default_factory=list)
    _on_stash: list[OnTensor] = field(default_factory=list)

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass, of the scaled loss under fp16-mixed."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def on_weight_copy(self, call: OnTensor) -> None:
        """Be told each copy of a weight that autocast keeps."""
        self._on_weight_copy.append(call)

    def on_stash(self, call: OnTensor) -> None:
        """Be told each input that a checkpointed layer keeps."""
        self._on_stash.append(call)


class MetaScaler(Scaler):
    """What torch.amp.GradScaler does to memory and kernels, without reading whether a gradient overflowed."""

    def __init__(self) -> None:
        self._scale = torch.empty((), device="meta")
        self._found = torch.empty((), device="meta")

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss times the scale."""
        return loss * self._scale

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """One kernel over all gradients, in place."""
        gradients = [part.grad for group in optimizer.param_groups for part in group["params"] if part.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, self._scale)

    def step(self, optimizer: torch.optim.Optimizer) -> float | None:
        """Update."""
        optimizer.step()
        return None

    def update(self) -> None:
        """The scale stays."""


def prepare(request: TraceRequest, *, layers: int | None, device: str = "meta") -> Prepared:
    """Build and prepare; see `models.build` for the arguments.

    Raises:
        RefusedModel: naming what does not fit.
    """
    built = build(request, layers=layers, device=device)
    weight_type = WEIGHT_TYPES[request.precision]
    if request.method.kind == "qlora":
        quantize_linear_layers(
            built.fresh.model,
            kept=frozenset() if "head-in-4bit" in request.deviations else built.fresh.head,
            compute_dtype=COMPUTE_TYPES[request.precision],
            double_quant="quantized-once" not in request.deviations,
            keeps_inputs="inputs-of-4bit-kept" in request.deviations,
        )
    _stretch_positions(built.fresh.model, request)
    try:
        tuned = apply_method(built.fresh, request.method)
    except (TaskError, AttributeError) as error:
        hint = getattr(error, "hint", None) or "The method does not know the parts of this architecture."
        raise RefusedModel(first_line(error), field="method", hint=hint) from error
    # Gradual unfreezing at its worst: everything learns.
    tuned.unfreeze(len(tuned.stages) - 1)
    model: Any = tuned.model
    if request.task in PLAIN_TEXT_TASKS:
        leave_encoders(model)
    if not any(part.requires_grad for part in model.parameters()):
        raise RefusedModel(
            f"Nothing of {type(built.fresh.model).__name__} learns by method {request.method.kind!r}.",
            field="method",
            hint="The architecture has no head apart from its pre-trained parts: take another method.",
        )
    _set_types(model, request, weight_type)
    prepared = Prepared(
        fresh_model=built.fresh.model,
        tuned=tuned,
        config=built.config,
        optimizer=_optimizer(model, request),
        learned=[part for part in model.parameters() if part.requires_grad],
        vocabulary=built.vocabulary,
        layers=layer_count(built.config) or max(1, len(repeated_blocks(model))),
        parameters=sum(elements(part) for part in model.parameters()),
        has_adapters=hasattr(model, "peft_config"),
        input_dtype=weight_type,
        scaler=MetaScaler() if request.precision == "fp16-mixed" else None,
        notes=_notes(request, built.config),
    )
    if "outputs-kept" in request.deviations:
        _keep_outputs(model, prepared)
    if request.gradient_checkpointing:
        _enable_checkpointing(model, prepared)
    if "cache-kept" in request.deviations:
        prepared.kept = KeptResults(model)
    if request.precision in AUTOCAST_TYPES or "half-weights-in-autocast" in request.deviations:
        _enable_autocast(model, COMPUTE_TYPES[request.precision], prepared, is_upcast=request.upcast_logits)
    return prepared


def _set_types(model: nn.Module, request: TraceRequest, weight_type: torch.dtype) -> None:
    cast_weights(model, weight_type)
    if request.adapter_precision == "fp32":
        # PEFT does this itself when it finds weights of 2 bytes, but not to meta tensors.
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()

    if "norms-in-float32" in request.deviations:
        widen_norms(model)
    if "half-weights-in-autocast" in request.deviations and request.method.kind == "qlora":
        leave_adapter_inputs(model)
    if "float32-around-4bit" in request.deviations:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.float()


def _keep_outputs(model: Any, prepared: Prepared) -> None:
    forward = model.forward.__func__

    @functools.wraps(forward)
    def keeping(*args: Any, **kwargs: Any) -> Any:
        prepared.outputs = forward(*args, **kwargs)
        return prepared.outputs

    model.forward = MethodType(keeping, model)


def _optimizer(model: nn.Module, request: TraceRequest) -> torch.optim.Optimizer:
    if request.optimizer == "adamw-8bit":
        return AdamW8bit(part for part in model.parameters() if part.requires_grad)
    try:
        # Kernels over many tensors are chosen when the optimizer is made.
        with Kernels(device=request.kernels).active():
            return new_optimizer(
                model,
                name=request.optimizer,
                learning_rate=LEARNING_RATE,
                weight_decay=0.0 if "weights-not-decayed" in request.deviations else WEIGHT_DECAY,
                device_type=request.kernels,
            )
    except (TaskError, ValueError) as error:
        raise RefusedModel(f"No optimizer: {first_line(error)}", field="optimizer") from error


def _enable_checkpointing(model: Any, prepared: Prepared) -> None:
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise RefusedModel(
            first_line(error), field="gradient_checkpointing", hint="Trace it without gradient checkpointing."
        ) from error

    def checkpoint(original: Callable[..., Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        stash = next((part for part in args if isinstance(part, torch.Tensor)), None)
        if stash is not None:
            for call in prepared._on_stash:
                call(stash)
        return original(autocast.carried(function), *args, **kwargs)

    for module in model.modules():
        original = vars(module).get("_gradient_checkpointing_func")
        if original is not None:
            module._gradient_checkpointing_func = functools.partial(checkpoint, original)


def _stretch_positions(model: Any, request: TraceRequest) -> None:
    """Position embeddings follow training.image_size, as the training program has them."""
    size = request.image_size
    if request.task != "image-classification" or size is None or not stretches_positions(model, (size, size)):
        return
    forward = model.forward.__func__

    @functools.wraps(forward)
    def stretched(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **{STRETCH: True, **kwargs})

    model.forward = MethodType(stretched, model)


def _enable_autocast(model: Any, dtype: torch.dtype, prepared: Prepared, *, is_upcast: bool) -> None:
    """As Accelerate prepares a model: autocast around its forward pass, floating-point results in float32."""
    from accelerate.utils import convert_outputs_to_fp32  # type: ignore[import-untyped]

    forward = model.forward.__func__

    def told(copy: torch.Tensor) -> None:
        for call in prepared._on_weight_copy:
            call(copy)

    @functools.wraps(forward)
    def in_autocast(*args: Any, **kwargs: Any) -> Any:
        with autocast.meta_autocast(dtype, told):
            return forward(*args, **kwargs)

    model.forward = MethodType(convert_outputs_to_fp32(in_autocast) if is_upcast else in_autocast, model)


def _notes(request: TraceRequest, config: Any) -> tuple[str, ...]:
    text = config.get_text_config()
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    notes = ["Expert routing is taken as balanced."] if experts else []
    if takes_recordings_of_30_s(request.task, config.model_type):
        notes.append(f"Recordings are taken as {RECORDING_S} s long.")
    if request.task == "image-text-to-text":
        notes += image_notes(request, config.to_dict())
    return tuple(notes)
