"""What this machine is: device, its name, peak memory, versions of what trains."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import resource
import sys
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
