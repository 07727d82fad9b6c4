"""A model for a trial on this machine: its own where it is here and fits, else its config with random weights."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.failures import TaskError
from tasks.job import Job
from tasks.protocol import FailureCode
from tasks.sources import model_files
from tasks.tracing.layers import layer_count, set_layers
from tasks.tracing.models import AUTO_CLASSES

_BYTES_PER_PARAMETER = 20
"""Weights, gradients, moments and a copy while they are written, in float32."""
_WEIGHTS = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A folder that the trainer loads."""

    folder: Path
    layers: int | None
    """Of each part, where there are fewer than the model has; None: all."""
    is_random: bool
    """Whether weights are drawn at random."""


def standing_in(job: Job, folder: Path, *, memory_bytes: int) -> StandIn:
    """The model of a job, or what stands in for it.

    Args:
        job: names model and task.
        folder: where a stand-in is written.
        memory_bytes: that a step may take.

    Raises:
        TaskError: model_not_found; bad_job, where not even one layer fits here.
    """
    own = model_files(job.model.source, job.model.revision)
    config = _config(own)
    has_weights = any(own.glob(f"*{_WEIGHTS}"))
    if has_weights and _parameters(job, config) * _BYTES_PER_PARAMETER <= memory_bytes:
        return StandIn(folder=own, layers=None, is_random=False)
    layers = _fitting_layers(job, config, memory_bytes)
    if layers is not None:
        set_layers(config, layers)
    _write(job, config, own, folder)
    return StandIn(folder=folder, layers=layers, is_random=True)


def _config(own: Path) -> Any:
    from transformers import AutoConfig  # Seconds.

    return AutoConfig.from_pretrained(str(own), trust_remote_code=False)


def _fitting_layers(job: Job, config: Any, memory_bytes: int) -> int | None:
    """The whole model, else one layer of each part: that shows all there is to see of a step.

    Raises:
        TaskError: bad_job, where that is too much too.
    """
    if _parameters(job, config) * _BYTES_PER_PARAMETER <= memory_bytes:
        return None
    if layer_count(config) is not None:
        one = _config_copy(config)
        set_layers(one, 1)
        if _parameters(job, one) * _BYTES_PER_PARAMETER <= memory_bytes:
            return 1
    raise TaskError(
        FailureCode.OUT_OF_MEMORY,
        f"Not even one layer of the model fits into {memory_bytes / 2**30:.1f} GiB of this machine.",
        hint="Try it on a machine with more memory.",
    )


def _parameters(job: Job, config: Any) -> int:
    import torch  # Seconds.

    with torch.device("meta"):
        model = _auto_class(job).from_config(_config_copy(config), trust_remote_code=False)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def _config_copy(config: Any) -> Any:
    return type(config).from_dict(config.to_dict())


def _auto_class(job: Job) -> Any:
    import transformers  # Seconds.

    return getattr(transformers, AUTO_CLASSES[job.task][0])


def _write(job: Job, config: Any, own: Path, folder: Path) -> None:
    import torch  # Seconds.

    torch.manual_seed(job.training.seed)
    model = _auto_class(job).from_config(config, trust_remote_code=False)
    model.save_pretrained(str(folder), safe_serialization=True)
    for file in own.iterdir():
        if file.is_file() and file.suffix != _WEIGHTS and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
