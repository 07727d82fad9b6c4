"""ModelEntry: a model as the tracer needs it, its config and what is known of it without building it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model, found offline."""

    name: str
    """Hub id, or the last two parts of a folder's path."""
    config: dict[str, Any]
    """The checked config.json, with `model_type` always there; to be given to the tracer and not to be changed."""
    model_type: str
    tasks: tuple[str, ...]
    """What it can be trained for, the usual task first (names of `tasks/step_trace.py`)."""
    parameters: int | None
    """Of the backbone without a task's head; None for a model that is not in the shipped table.

    The backbone is `base_model` of the sequence classifier where the model can be one, else what AutoModel builds.
    """
    stored_dtype: str | None
    """dtype of the stored weights as the config names it (`float32`, `bfloat16` ...); None where it does not."""
    weights_bytes: int | None
    """Size of the safetensors files; None when they are not here."""
    max_positions: int | None
    """Longest text in tokens that the model takes; None where nothing bounds it, or where it reads no text."""
    source: str
    """Where the config comes from, for people."""
    is_folder: bool
    """Whether the model is a folder of this machine, which no hub has."""
