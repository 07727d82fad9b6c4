"""Checkpoints: written aside and renamed, so that a full disk or a kill leaves the older ones as they were.

A checkpoint is a folder `step-00000042` with model.safetensors (the parameters that the optimizer holds, and buffers),
optimizer.safetensors (its state by parameter name), rng.safetensors (torch's generators, one per process) and
state.json (counters, the scale of fp16's gradients, the generators of Python and NumPy). Nothing in it is pickled. The
learning rate is a function of the step, and the order of the samples one of seed and epoch, so neither has a state of
its own. Tensors are whole in it, however many devices they were divided over; the first process alone writes and reads.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tasks.optimizer_state import learned_names, state_of
from tasks.sharding import Gathering
from tasks.tensor_files import write_tensors

STATE_VERSION = 1
_NAME = re.compile(r"step-(\d{8})")


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a run is; the one mutable value of the loop, and what a checkpoint keeps beside tensors."""

    step: int = 0
    """Optimizer steps done; epoch and position in it follow from it."""
    samples: int = 0
    tokens: int = 0
    """Without padding."""
    training_s: float = 0.0
    """Time in training steps, over all resumes; evaluations and checkpoints are not in it."""
    best: dict[str, Any] | None = None
    """metric, value, step of the best evaluation."""
    evaluated_step: int = 0
    """Last step with an evaluation on validation; behind `step` when that one was cut short."""
    without_improvement: int = 0
    """Evaluations since the best one that count for early stopping."""
    ended: str | None = None
    """Outcome, once training has ended and only the final evaluation is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rng:
    """States of one process's random generators."""

    python: list[Any]
    numpy: dict[str, Any]
    torch: dict[str, torch.Tensor] = field(repr=False)
    """`cpu` and, on an accelerator, `device`; bytes."""


def capture_rng() -> Rng:
    """The states of this process's generators."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["device"] = torch.cuda.get_rng_state()
    return Rng(
        python=[version, list(internal), gauss],
        numpy={"name": name, "keys": keys.tolist(), "rest": [position, has_gauss, cached]},  # type: ignore[union-attr]
        torch=states,
    )


def restore_rng(rng: Rng) -> None:
    """Set this process's generators."""
    version, internal, gauss = rng.python
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state((rng.numpy["name"], np.array(rng.numpy["keys"], dtype=np.uint32), *rng.numpy["rest"]))
    torch.set_rng_state(rng.torch["cpu"])
    if "device" in rng.torch and torch.cuda.is_available():
        torch.cuda.set_rng_state(rng.torch["device"])


def save(
    root: Path,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rngs: list[Rng],
    scaler: torch.amp.GradScaler | None = None,
) -> Path:
    """Write the checkpoint of this step, unless it is there already; returns its folder.

    Of divided weights the other processes call `take_part` meanwhile.

    Raises:
        OSError, SafetensorError: it cannot be written; older checkpoints are untouched and nothing is left half done.
    """
    target = root / f"step-{progress.step:08d}"
    if target.is_dir():
        return target
    aside = root / f".{target.name}.partial"
    learned, kept = learned_tensors(model, optimizer), state_of(model, optimizer)
    try:
        with Gathering([*learned.values(), *kept.tensors.values()]) as values:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write_tensors(aside / "model.safetensors", learned, values)
            write_tensors(aside / "optimizer.safetensors", kept.tensors, values)
        states = {f"{rank}/{name}": state for rank, rng in enumerate(rngs) for name, state in rng.torch.items()}
        save_file(states, aside / "rng.safetensors")
        state = {
            "schema": STATE_VERSION,
            "progress": asdict(progress),
            "rng": [{"python": rng.python, "numpy": rng.numpy} for rng in rngs],
            "optimizer": kept.numbers,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        for file in aside.iterdir():
            _force_to_disk(file)
        aside.rename(target)
    except BaseException:
        # Also on Ctrl-C: the space of a half-written checkpoint is what the failure's own event may need.
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return target


def take_part(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """What the other processes do while the first one saves: give their parts."""
    with Gathering([*learned_tensors(model, optimizer).values(), *state_of(model, optimizer).tensors.values()]):
        pass


def learned_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Parameters that the optimizer holds and persistent buffers by name, sharing memory with the model.

    Tied ones come once; those that only start to learn at a later stage are among them.
    """
    learned = set(learned_names(model, optimizer).values())
    tensors = {name: value.detach() for name, value in model.named_parameters() if name in learned}
    stored = model.state_dict(keep_vars=True)
    tensors.update({name: value for name, value in model.named_buffers() if name in stored})
    return tensors


def newest_first(root: Path) -> list[Path]:
    """Complete checkpoints, newest first."""
    if not root.is_dir():
        return []
    return sorted((entry for entry in root.iterdir() if _NAME.fullmatch(entry.name)), reverse=True)


def at_step(root: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return root / f"step-{step:08d}"


def prune(root: Path, *, keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and the best one."""
    for folder in newest_first(root)[max(1, keep) :]:
        if best_step is None or folder != at_step(root, best_step):
            shutil.rmtree(folder)


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint so that the run can save this step again; returns the new folder."""
    target = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(target, ignore_errors=True)
    return folder.rename(target)


def size_bytes(folder: Path) -> int:
    """Size of a checkpoint's files."""
    return sum(file.stat().st_size for file in folder.iterdir())


def _force_to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
