"""One training step traced: the project's own step on meta tensors, with a device's kernels, under a recorder.

The measured step is any but the first: the optimizer's state is there, gradients are not (they are set to None after
each update) unless the micro-batch accumulates. An evaluation of the same batch follows, phase `evaluation`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tasks import step
from tasks.losses import backbone_and_head
from tasks.step_trace import TensorSums, TraceRequest
from tasks.tracing import reuse
from tasks.tracing.batches import Batch, new_batch
from tasks.tracing.data_dependent import answers, mark_mask
from tasks.tracing.garbage import without_collections
from tasks.tracing.losses_by_task import Slices, check_plain_logits, evaluate, loss_of
from tasks.tracing.meta_kernels import Kernels, workspace_bytes
from tasks.tracing.models import repeated_blocks
from tasks.tracing.old_kernels import old_softmax
from tasks.tracing.prepared import Prepared
from tasks.tracing.recorder import Recorder
from tasks.tracing.recording import Recording, live_bytes_of
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.refused_step import refused_step

MAX_GRAD_NORM = 1.0
_checked: list[TraceRequest] = []
"""The last request with a chunked loss whose model was found to have plain logits."""


def record_step(
    request: TraceRequest,
    *,
    batch: int,
    length: int,
    rank: int | None = None,
    layers: int | None = None,
    slices: int | None = None,
    accumulate: bool = False,
) -> Recording:
    """Trace one step.

    Args:
        request: what is trained, and how.
        batch: samples of the micro-batch.
        length: of a sample, in the unit of the task.
        rank: of the adapters, instead of the request's.
        layers: instead of the request's.
        slices: of a chunked loss, instead of the trainer's.
        accumulate: a later micro-batch of the step: gradients are there from the start.

    Raises:
        RefusedModel: the model cannot be built, or its step cannot run on meta tensors.
    """
    if rank is not None:
        request = replace(request, method=replace(request.method, lora_rank=rank))
    layers = layers if layers is not None else request.layers
    prepared = reuse.take(request, layers=layers)
    kernels = Kernels(device=request.kernels, attention=request.attention)
    recorder = Recorder(
        device_type="meta",
        substitute=answers(padded=request.padded),
        workspace=workspace_bytes if request.kernels == "cuda" else None,
        vocabulary=prepared.vocabulary,
        remembers=True,
    )
    run = _Run(request, prepared, recorder, kernels, accumulate, slices)
    with without_collections(), kernels.active(), old_softmax("softmax-inputs-kept" in request.deviations):
        try:
            run.all(batch, length)
        except RefusedModel:
            raise
        except Exception as error:  # A model may do anything that meta tensors cannot.
            raise refused_step(error, request, prepared.fresh_model, given=run.given) from error
    recording = _recording(run, kernels, batch=batch, length=length)
    if not accumulate:
        reuse.keep(prepared, request, layers=layers)
    return recording


@dataclass(slots=True)
class _Run:
    """The steps of a trace and what they leave."""

    request: TraceRequest
    prepared: Prepared
    recorder: Recorder
    kernels: Kernels
    accumulate: bool
    slices: int | None = None
    slice_starts: list[int] = field(default_factory=list)
    weights_bytes: int = 0
    optimizer_state_bytes: int = 0
    layer_input_bytes: int = 0
    given: tuple[str, ...] = ()
    """Names of the inputs of the model."""

    def all(self, batch: int, length: int) -> None:
        prepared, recorder = self.prepared, self.recorder
        prepared.on_weight_copy(lambda copy: recorder.follow(copy, "weight_copies"))
        prepared.on_stash(lambda stash: recorder.follow(stash, "checkpoint_stash"))
        self._follow_weights()
        with recorder, self._hooks():
            recorder.is_recording = False
            self._make_optimizer_state()
            device_batch = new_batch(
                self.request,
                prepared.config,
                batch=batch,
                length=length,
                dtype=prepared.input_dtype,
                device="meta",
            )
            self.given = tuple(device_batch.inputs)
            for tensor in device_batch.tensors():
                recorder.follow(tensor, "inputs")
            if "attention_mask" in device_batch.inputs:
                mark_mask(device_batch.inputs["attention_mask"])
            if self.request.loss == "chunked":
                self._check_loss(device_batch)
            _settle(prepared.tuned.model, device_batch)
            recorder.is_recording = True
            self._train(device_batch)
            self._evaluate(device_batch)

    def _check_loss(self, batch: Batch) -> None:
        """Once for all depths, points and ranks of a request."""
        method = replace(self.request.method, lora_rank=1)
        request = replace(self.request, method=method, layers=None)
        if _checked != [request]:
            check_plain_logits(self.prepared.tuned.model, batch.inputs)
            # Of a pass that no run makes.
            self.recorder.section = ""
            self.kernels.met.clear()
            _checked[:] = [request]

    def _follow_weights(self) -> None:
        model = self.prepared.tuned.model
        for tensor in (*model.parameters(), *model.buffers()):
            self.recorder.follow(tensor, "weights")
        self.weights_bytes = self.recorder.storage_bytes("weights")

    def _make_optimizer_state(self) -> None:
        """A first update, which makes the state, on gradients of the right types."""
        optimizer, recorder = self.prepared.optimizer, self.recorder
        for parameter in self.prepared.learned:
            parameter.grad = torch.empty_like(parameter)
            recorder.follow(parameter.grad, "gradients")
        optimizer.step()
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    recorder.follow(value, "optimizer_state")
        self.optimizer_state_bytes = recorder.storage_bytes("optimizer_state")
        if not self.accumulate:
            optimizer.zero_grad(set_to_none=True)

    def _train(self, batch: Batch) -> None:
        prepared, recorder = self.prepared, self.recorder
        prepared.tuned.set_training()
        recorder.phase = "forward"

        def backward(loss: torch.Tensor) -> None:
            recorder.section = ""
            recorder.phase = "backward"
            prepared.backward(loss)

        step.run_micro_batch(
            prepared.tuned.model,
            batch.inputs,
            batch.targets,
            loss_sum=loss_of(
                self.request,
                lambda copy: recorder.follow(copy, "weight_copies"),
                Slices(count=self.slices, on_start=lambda: self.slice_starts.append(len(recorder.ops))),
                prepared.kept,
            ),
            backward=backward,
            weight=1.0,
            scale=1.0,
        )
        recorder.phase = "update"
        step.update(prepared.optimizer, max_grad_norm=MAX_GRAD_NORM, scaler=prepared.scaler)
        prepared.outputs = None

    def _evaluate(self, batch: Batch) -> None:
        model = self.prepared.tuned.model.eval()
        self.recorder.phase = "evaluation"
        with torch.no_grad():
            evaluate(self.request, model, batch.inputs, batch.targets)

    @contextlib.contextmanager
    def _hooks(self) -> Iterator[None]:
        """Gradients are named as they come; the loss begins where the model's own forward pass ends."""
        recorder, prepared = self.recorder, self.prepared
        handles: list[Any] = [
            parameter.register_post_accumulate_grad_hook(_follow_gradient(recorder))  # type: ignore[no-untyped-call]
            for parameter in prepared.learned
        ]
        model = prepared.tuned.model
        # A chunked loss calls the backbone, and the head slice by slice.
        last = backbone_and_head(model)[0] if self.request.loss == "chunked" else model
        handles.append(last.register_forward_hook(lambda *_: setattr(recorder, "section", "loss")))
        handles.append(prepared.optimizer.register_step_pre_hook(lambda *_: setattr(recorder, "section", "optimizer")))
        handles.append(prepared.optimizer.register_step_post_hook(lambda *_: setattr(recorder, "section", "")))
        for block in repeated_blocks(model):
            handles.append(block.register_forward_pre_hook(self._note_layer_input, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note_layer_input(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        first = next((part for part in (*args, *kwargs.values()) if isinstance(part, torch.Tensor)), None)
        if first is not None:
            self.layer_input_bytes = max(self.layer_input_bytes, first.numel() * first.element_size())


def _settle(model: nn.Module, batch: Batch) -> None:
    """Tables of positions that grow with the samples take their type and size in the first pass of a run."""
    if any(hasattr(module, "extend_pe") for module in model.modules()):
        with torch.no_grad():
            model(**batch.inputs)


def _follow_gradient(recorder: Recorder) -> Any:
    def follow(parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            recorder.follow(parameter.grad, "gradients")

    return follow


def _recording(run: _Run, kernels: Kernels, *, batch: int, length: int) -> Recording:
    recorder, prepared = run.recorder, run.prepared
    model = prepared.tuned.model
    blocks = repeated_blocks(model)
    parameters = list(model.parameters())
    storages = recorder.storages()
    block_bytes = [sum(part.nbytes for part in block.parameters()) for block in blocks]
    return Recording(
        batch=batch,
        length=length,
        rank=run.request.method.lora_rank if prepared.has_adapters else 0,
        layers=prepared.layers,
        phases=tuple(op.phase for op in recorder.ops),
        live_bytes=live_bytes_of(storages, len(recorder.ops)),
        names=tuple(op.name for op in recorder.ops),
        kinds=tuple(op.kind for op in recorder.ops),
        dtypes=tuple(op.dtype for op in recorder.ops),
        flops=np.array([op.flops for op in recorder.ops], dtype=np.float64),
        moved_bytes=np.array([op.moved_bytes for op in recorder.ops], dtype=np.float64),
        weights_bytes=run.weights_bytes,
        optimizer_state_bytes=run.optimizer_state_bytes,
        parameters=prepared.parameters,
        trainable_parameters=sum(part.numel() for part in prepared.learned),
        trainable=tensor_sums(prepared.learned),
        layer_weight_bytes=max(block_bytes, default=0),
        root_weight_bytes=sum(part.nbytes for part in parameters) - sum(block_bytes),
        layer_input_bytes=run.layer_input_bytes,
        attention=dict(kernels.met),
        notes=prepared.notes,
        lives=recorder.allocations(),
        storages=storages,
        slice_starts=tuple(run.slice_starts),
    )


def tensor_sums(learned: list[nn.Parameter]) -> TensorSums:
    """What the state of any optimizer follows from."""
    sizes = [part.numel() for part in learned]
    large = [size for size in sizes if size >= 4096]
    matrices = [part for part in learned if part.dim() >= 2]
    factored = sum(part.numel() for part in matrices)
    return TensorSums(
        tensors=len(sizes),
        elements=sum(sizes),
        bytes=sum(part.nbytes for part in learned),
        largest_elements=max(sizes, default=0),
        elements_large=sum(large),
        blocks_large=sum(-(-size // 256) for size in large),
        factored_elements=factored,
        factor_elements=sum(
            part.numel() // part.shape[-1] + part.numel() // part.shape[-2] for part in matrices if part.numel()
        ),
        matrix_elements=factored,
    )
