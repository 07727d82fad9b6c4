"""From what the user wants, the model's shape and the data to a WorkloadProfile; pure, closed formulas.

A first honest estimate, to be replaced by tracing: parameters and FLOPs are exact up to biases and norms, memory and
time carry their error in a band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from manager.catalog.model_shape import ModelShape, classifier_parameters
from manager.spec.model import RunSpec
from manager.workload.flops import evaluation_flops, step_flops
from manager.workload.layers import ROLES, adapted_linears, roles_of_targets
from manager.workload.precision import precision_regime
from manager.workload.profile import DataStats, WorkloadProfile
from manager.workload.traits import traits_of

_ROUNDING = 1e-9
_BYTES_OF_DTYPE = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
_BASIS = (
    "closed formulas: FLOPs per matrix product (Kaplan et al. 2020; PaLM, appendix B), activations after "
    "Korthikanti et al. 2022"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """How often what happens in one run."""

    steps: int
    evaluations: int
    checkpoints: int


def build_profile(spec: RunSpec, shape: ModelShape, data: DataStats) -> WorkloadProfile:
    """What the run demands of any machine."""
    training, method = spec.training, spec.method
    schedule = _schedule(spec, data)
    traits = traits_of(shape.model_type, shape.family)
    num_labels = max(2, len(data.labels))
    head = classifier_parameters(shape, num_labels)
    is_lora = method.kind == "lora"
    roles = roles_of_targets(method.lora_targets) if is_lora else ()
    draft = WorkloadProfile(
        model=shape.name,
        family=shape.family,
        method=method.kind,
        precision=training.precision,
        parameters=shape.parameters + head,
        trainable_parameters=0,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        attention_heads=shape.attention_heads,
        key_value_heads=shape.key_value_heads,
        vocabulary_size=shape.vocabulary_size,
        num_labels=num_labels,
        gated_mlp=shape.gated_mlp,
        lora_rank=method.lora_rank if is_lora else None,
        gradient_checkpointing=training.gradient_checkpointing,
        batch_size=training.batch_size,
        steps=schedule.steps,
        evaluations=schedule.evaluations,
        samples_seen=_samples_seen(spec, data, schedule.steps),
        data=data,
        flops_per_step=0.0,
        flops_evaluation=0.0,
        tokens_per_epoch=round(data.train_samples * data.mean_tokens),
        weights_bytes=_weights_bytes(shape),
        checkpoint_bytes=0,
        basis=_basis(spec, known_targets=roles is not None),
        head_size=shape.head_dim,
        activation=traits.activation,
        hidden_dropout=traits.hidden_dropout,
        attention_dropout=traits.attention_dropout,
        fused_attention=traits.fused_attention,
        adapted_linears=ROLES if roles is None else roles,
        lora_dropout=method.lora_dropout if is_lora else 0.0,
        head_parameters=head,
        embedding_parameters=shape.embedding_parameters,
        model_from_hub=not shape.is_folder and shape.name == spec.model.source,
        model_is_here=shape.weights_bytes is not None,
        checkpoints=schedule.checkpoints,
        asked_micro_batch=training.micro_batch,
    )
    return _counted(draft, shape, all_linear=method.lora_targets == "all-linear")


def _counted(draft: WorkloadProfile, shape: ModelShape, *, all_linear: bool) -> WorkloadProfile:
    """The draft with what follows from it: parameters that train, FLOPs, size of a checkpoint."""
    adapters = _adapter_parameters(draft, shape, all_linear=all_linear)
    trainable = {
        "full": draft.parameters,
        "lora": adapters + draft.head_parameters,
        "frozen": draft.head_parameters,
    }[draft.method]
    counted = replace(draft, parameters=draft.parameters + adapters, trainable_parameters=trainable)
    regime = precision_regime(counted.precision)
    return replace(
        counted,
        flops_per_step=step_flops(counted),
        flops_evaluation=evaluation_flops(counted),
        checkpoint_bytes=trainable * (regime.weight + regime.optimizer_state),
    )


def _adapter_parameters(draft: WorkloadProfile, shape: ModelShape, *, all_linear: bool) -> int:
    if draft.lora_rank is None:
        return 0
    per_layer = sum(linear.adapter_parameters(draft.lora_rank) for linear in adapted_linears(draft))
    # `all-linear` also adapts the pooler that the backbone of BERT and its kin brings along.
    has_pooler = all_linear and shape.has_pooler
    pooler = 2 * draft.lora_rank * draft.hidden_size if has_pooler else 0
    return draft.layers * per_layer + pooler


def _schedule(spec: RunSpec, data: DataStats) -> _Schedule:
    """Steps (max_steps, else what the epochs give), evaluations and checkpoints on the way."""
    training = spec.training
    per_epoch = max(1, math.ceil(data.train_samples / training.batch_size))
    of_epochs = max(1, math.ceil(training.epochs * per_epoch - _ROUNDING))
    steps = of_epochs if training.max_steps is None else max(1, training.max_steps)
    every = training.eval_every_steps or per_epoch
    evaluations = max(1, math.ceil(steps / every))
    saves = (
        evaluations if training.checkpoint_every_steps is None else math.ceil(steps / training.checkpoint_every_steps)
    )
    return _Schedule(steps=steps, evaluations=evaluations, checkpoints=saves)


def _samples_seen(spec: RunSpec, data: DataStats, steps: int) -> int:
    if spec.training.max_steps is None:
        return round(spec.training.epochs * data.train_samples)
    return steps * min(spec.training.batch_size, data.train_samples)


def _weights_bytes(shape: ModelShape) -> int:
    """Of the files; where they are not here, parameters at the stored width (4 bytes when the config names none)."""
    if shape.weights_bytes is not None:
        return shape.weights_bytes
    return shape.parameters * _BYTES_OF_DTYPE.get(shape.stored_dtype or "float32", 4)


def _basis(spec: RunSpec, *, known_targets: bool) -> str:
    if known_targets:
        return _BASIS
    return f"{_BASIS}; lora_targets {spec.method.lora_targets!r} not known here, all linear layers assumed"
