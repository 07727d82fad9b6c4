"""What this machine is: device, its name, peak memory, versions of what trains."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import platform
import resource
import sys
from functools import lru_cache
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers", "scikit-learn", "numpy")
OPTIONAL_PACKAGES = ("bitsandbytes", "flash-attn")
"""Weights and optimizers in few bits; one of the attention kernels."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on, those that are installed of the optional."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), **found}


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if device.type == "cpu" and info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most memory held so far.

    On CUDA what the allocator reserved on this device (without the CUDA context); on a CPU the resident size of the
    process; None where the platform tells neither.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    if device.type != "cpu":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def utilization_percent(device: torch.device) -> float | None:
    """Share of the last moment (a second at most, as the driver measures it) in which the device computed; None where
    nobody tells: without CUDA, without NVIDIA's management library, or where the driver refuses (a part of a card)."""
    if device.type != "cuda" or not _has_management_library():
        return None
    try:
        return float(torch.cuda.utilization(device))
    except Exception:  # The library has errors of its own; a figure to look at must not end a run.
        return None


@lru_cache(maxsize=1)
def _has_management_library() -> bool:
    return importlib.util.find_spec("pynvml") is not None
