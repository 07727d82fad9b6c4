"""From what the user wants, the model, the data and the traced step to a WorkloadProfile; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePath

from manager.catalog.model_entry import ModelEntry
from manager.spec.model import RunSpec
from manager.workload.memory_model import memory_model, unpacked_note
from manager.workload.profile import DataStats, WorkloadProfile
from manager.workload.request import FEWEST_LABELS
from manager.workload.traces import RunTraces
from manager.workload.work import flops_of
from tasks.kinds import TASK_KINDS
from tasks.step_trace import StepTrace

_ROUNDING = 1e-9
_BUCKETS = ("s3://", "gs://")
_BYTES_OF_DTYPE = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
_TEST_EVALUATIONS = 2
"""Of the test set: the untouched model, and the tuned one."""
_ADAPTER_METHODS = ("lora", "qlora")
"""Whose export is the merged model and the adapter beside it (tasks.methods says the same, but loads torch)."""
_LARGEST_SHARD_BYTES = 50_000_000_000
"""Of an exported model: max_shard_size of transformers 5; safetensors copies the tensors of a file from the device and
keeps all copies until it is written (safetensors 0.8, torch.py, _flatten_as_ptr)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """How often what happens in one run."""

    steps: int
    evaluations: int
    checkpoints: int


def build_profile(spec: RunSpec, entry: ModelEntry, data: DataStats, traces: RunTraces) -> WorkloadProfile:
    """What the run demands of any machine."""
    training, trace, rank = spec.training, traces.cuda, traces.rank
    timed = traces.timed(is_cpu=False)
    sequences = data.training_sequences(is_packed=training.packing)
    schedule = _schedule(spec, sequences)
    is_packed = training.packing and data.packed_sequences is not None
    length = float(training.max_length) if is_packed else data.padded_mean_tokens
    longest = training.max_length if is_packed else data.longest_tokens
    model = memory_model(trace)
    static = model.static(model.at(batch=1, length=max(1, longest), rank=rank), training.optimizer)
    trainable = round(trace.trainable_parameters * static.trainable / max(1, trace.trainable.bytes))
    parameters = trace.parameters + trainable - trace.trainable_parameters
    weights = parameters * _BYTES_OF_DTYPE[_weight_type(spec)]
    evaluated = schedule.evaluations * data.validation_samples + _TEST_EVALUATIONS * data.test_samples
    return WorkloadProfile(
        model=entry.name,
        task=spec.task,
        method=spec.method.kind,
        precision=training.precision,
        optimizer=training.optimizer,
        gradient_checkpointing=bool(training.gradient_checkpointing),
        lora_rank=rank,
        parameters=parameters,
        trainable_parameters=trainable,
        num_labels=max(FEWEST_LABELS, len(data.labels)),
        batch_size=training.batch_size,
        steps=schedule.steps,
        evaluations=schedule.evaluations,
        samples_seen=_samples_seen(spec, sequences, schedule.steps),
        data=data,
        flops_per_step=flops_of(
            timed, ("forward", "backward", "update"), batch=training.batch_size, length=length, rank=rank or 0
        ),
        flops_evaluation=flops_of(
            timed, ("evaluation",), batch=evaluated, length=data.padded_mean_tokens, rank=rank or 0
        ),
        tokens_per_epoch=round(data.train_samples * data.mean_tokens),
        weights_bytes=_weights_bytes(entry, trace),
        checkpoint_bytes=round(static.trainable + static.optimizer_state),
        basis=_basis(trace),
        step_length=length if is_packed else None,
        longest_length=longest,
        model_from_hub=not entry.is_folder and entry.name == spec.model.source,
        data_from_hub=_is_elsewhere(spec.data.source),
        model_is_here=entry.weights_bytes is not None,
        checkpoints=schedule.checkpoints,
        loading_bytes=_loading_bytes(spec, entry, weights),
        whole_loading_bytes=0 if entry.stored_dtype == _weight_type(spec) else weights,
        export_bytes=weights if spec.method.kind == "qlora" else min(weights, _LARGEST_SHARD_BYTES),
        whole_export_bytes=weights,
        export_file_bytes=weights + (round(static.trainable) if spec.method.kind in _ADAPTER_METHODS else 0),
        asked_micro_batch=training.micro_batch,
        loss=training.loss,
        attention=training.attention,
    )


def micro_batch_limit(profile: WorkloadProfile, *, replicas: int) -> int | None:
    """One replica's share of the batch, or the smaller micro-batch that was asked for; None when it cannot be shared.

    The share is whole: the training program gives each replica the same number of samples.
    """
    share, rest = divmod(profile.batch_size, replicas)
    if rest or share == 0:
        return None
    return share if profile.asked_micro_batch is None else min(profile.asked_micro_batch, share)


def even_micro_batch(limit: int, largest: int) -> int:
    """The smallest micro-batch that takes no more passes than `largest` does, so that the last pass is not a rest."""
    return math.ceil(limit / math.ceil(limit / largest))


def _schedule(spec: RunSpec, sequences: int) -> _Schedule:
    """Steps (max_steps, else what the epochs give), evaluations and checkpoints on the way."""
    training = spec.training
    per_epoch = max(1, math.ceil(sequences / training.batch_size))
    of_epochs = max(1, math.ceil(training.epochs * per_epoch - _ROUNDING))
    steps = of_epochs if training.max_steps is None else max(1, training.max_steps)
    every = training.eval_every_steps or per_epoch
    evaluations = max(1, math.ceil(steps / every))
    saves = (
        evaluations if training.checkpoint_every_steps is None else math.ceil(steps / training.checkpoint_every_steps)
    )
    return _Schedule(steps=steps, evaluations=evaluations, checkpoints=saves)


def _samples_seen(spec: RunSpec, sequences: int, steps: int) -> int:
    if spec.training.max_steps is None:
        return round(spec.training.epochs * sequences)
    return steps * min(spec.training.batch_size, sequences)


def _weights_bytes(entry: ModelEntry, trace: StepTrace) -> int:
    """Of the files; where they are not here, parameters at the stored width (4 bytes when the config names none)."""
    if entry.weights_bytes is not None:
        return entry.weights_bytes
    parameters = entry.parameters or trace.parameters
    return parameters * _BYTES_OF_DTYPE.get(entry.stored_dtype or "float32", 4)


def _is_elsewhere(data: str) -> bool:
    """Whether a data source is a bucket or a hub id; those that lie here are paths, most of them absolute."""
    path = PurePath(data)
    return data.startswith(_BUCKETS) or not (path.is_absolute() or path.suffix or data.startswith((".", "~")))


def _weight_type(spec: RunSpec) -> str:
    return "bfloat16" if spec.training.precision == "bf16" else "float32"


def _loading_bytes(spec: RunSpec, entry: ModelEntry, weights_bytes: int) -> int:
    """Only a model with a new head is read on the host, and only another type than the file's takes memory there."""
    is_on_device = spec.method.kind == "qlora" or not TASK_KINDS[spec.task].has_labels
    return 0 if is_on_device or entry.stored_dtype == _weight_type(spec) else weights_bytes


def _basis(trace: StepTrace) -> str:
    how = "traced in full" if trace.exact else "traced on few layers, extended to all"
    if trace.two_points:
        how = "traced in full for a small and a large batch, on two layers of each stack for sizes between"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(trace.versions.items()))
    # Notes of the tracer are sentences.
    notes = "".join(f"; {note.removesuffix('.')}" for note in (*trace.notes, unpacked_note(trace)) if note)
    return f"the training step itself, {how}{f' ({versions})' if versions else ''}{notes}"
