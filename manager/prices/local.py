"""This machine as an offer: what `local` trains on, at a price per hour that the user's settings state.

Asks nvidia-smi, psutil and the operating system; loads no training library. What cannot be found out is None.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psutil

from manager.catalog.accelerators import accelerator
from manager.prices.offer import Offer

LOCAL = "local"
ONE_OF_SEVERAL = "one_of_several_gpus"
"""Flag of an offer: the machine has more GPUs of this kind, a local run uses one."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_QUERY_S = 10.0
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits")
_SYSCTL = ("sysctl", "-n", "machdep.cpu.brand_string")
_CPUINFO = Path("/proc/cpuinfo")
_MEBI = 2**20
_ISA_OF_FLAG = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_bf16": "avx512_bf16",
    "avx512_vnni": "avx512_vnni",
    "amx_tile": "amx",
    "amx_bf16": "amx_bf16",
    "asimd": "neon",
    "bf16": "bf16",
    "sve": "sve",
}
"""Linux's name of a processor feature -> its name here."""
_MODEL_WORDS = re.compile(r"NVIDIA|Tesla|GeForce|Quadro|Graphics|Generation|Device", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDevice:
    """The device that a local run would use, and the machine around it."""

    name: str
    """As the driver or the operating system says it."""
    accelerator: str | None
    """SkyPilot's name of the GPU (the driver's where there is none); None when a run would use the CPU."""
    accelerator_count: int
    """GPUs of that name that CUDA_VISIBLE_DEVICES leaves; 0 for the CPU."""
    accelerator_memory_bytes: int | None
    """Of one GPU, as the driver reports it; None for the CPU."""
    accelerator_uuid: str | None = None
    """The driver's identity of the first of these GPUs, which a run uses; None for the CPU."""
    cpu_model: str | None
    physical_cores: int | None
    """Of the machine; None where the operating system does not say."""
    logical_cores: int
    """That this process may use: affinity (taskset, cpuset), not cgroup quotas."""
    memory_bytes: int
    """Of the host."""
    available_memory_bytes: int
    """Of the host, that can be had now without swapping."""
    max_clock_hz: float | None
    """Highest clock of the processor; None where the operating system does not say."""
    isa: tuple[str, ...]
    """Vector and matrix units of the processor: avx2, avx512, amx_bf16 ...; empty where it does not say."""


def detect_device() -> LocalDevice:
    """Find out what this machine has; the GPU of most memory counts, with its equals."""
    gpus = _gpus()
    uuid, name, memory_bytes = max(gpus, key=lambda gpu: gpu[2], default=(None, None, None))
    cpu_model = _cpu_model()
    memory = psutil.virtual_memory()
    return LocalDevice(
        name=name or cpu_model or platform.machine(),
        accelerator=None if name is None else accelerator_name(name, memory_bytes),
        accelerator_count=sum(1 for gpu in gpus if gpu[1:] == (name, memory_bytes)),
        accelerator_memory_bytes=memory_bytes,
        accelerator_uuid=uuid,
        cpu_model=cpu_model,
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=_usable_cores(),
        memory_bytes=memory.total,
        available_memory_bytes=memory.available,
        max_clock_hz=_max_clock_hz(),
        isa=_isa(),
    )


def local_offer(
    device: LocalDevice,
    price_usd_per_hour: Decimal | None,
    *,
    price_source: str = "setting local_price_usd_per_hour",
    price_age_s: float | None = None,
) -> Offer:
    """The offer of this machine; of several GPUs a local run uses one, which a flag says.

    Args:
        device: what `detect_device` found.
        price_usd_per_hour: dollars per hour of the whole machine; None or 0 and less is unknown.
        price_source: where the price comes from, for people.
        price_age_s: seconds since the price was stated; None is unknown.
    """
    known = price_usd_per_hour is not None and price_usd_per_hour.is_finite() and price_usd_per_hour > 0
    cores = device.logical_cores if device.physical_cores is None else min(device.physical_cores, device.logical_cores)
    on_cpu = device.accelerator is None
    flags = [] if known else ["unknown_price"]
    if device.accelerator_count > 1:
        flags.append(ONE_OF_SEVERAL)
    return Offer(
        cloud=LOCAL,
        region=None,
        instance_type=None,
        accelerator=device.accelerator,
        accelerator_count=float(min(1, device.accelerator_count)),
        accelerator_memory_bytes=device.available_memory_bytes if on_cpu else device.accelerator_memory_bytes,
        vcpus=float(cores),
        host_memory_bytes=device.memory_bytes,
        use_spot=False,
        price_usd_per_hour=price_usd_per_hour if known else None,
        price_source=price_source,
        price_age_s=price_age_s,
        flags=tuple(flags),
    )


def accelerator_name(driver_name: str, memory_bytes: int | None) -> str:
    """SkyPilot's name for a GPU as nvidia-smi names it; the driver's own name where the table knows none.

    `NVIDIA A100-SXM4-80GB` -> `A100-80GB-SXM`, `Tesla T4` -> `T4`, `NVIDIA GeForce RTX 4090` -> `RTX4090`.
    """
    words = _MODEL_WORDS.sub(" ", driver_name).split()
    candidates = ["-".join(words), "".join(words), words[0] if words else ""]
    for candidate in candidates:
        known = accelerator(candidate)
        # The first word alone can name a smaller card (A100 for an 80 GB one), so memory has to agree.
        if known is not None and (memory_bytes is None or _near(known.memory_bytes, memory_bytes)):
            return known.name
    return driver_name


def _near(table_bytes: int, driver_bytes: int) -> bool:
    return 0.85 < driver_bytes / table_bytes < 1.15


def _gpus() -> list[tuple[str, str, int]]:
    """(UUID, name, bytes of memory) of each NVIDIA GPU that may be used; empty without a driver that answers."""
    output = _output(_NVIDIA_SMI)
    gpus: list[tuple[str, str, int]] = []
    for line in (output or "").splitlines():
        identity, _, mebibytes = line.rpartition(",")
        uuid, _, name = identity.partition(",")
        if uuid.strip() and name.strip() and mebibytes.strip().isdigit():
            gpus.append((uuid.strip(), name.strip(), int(mebibytes) * _MEBI))
    return _visible(gpus, os.environ.get(_VISIBLE))


def _visible(gpus: list[tuple[str, str, int]], setting: str | None) -> list[tuple[str, str, int]]:
    """What CUDA_VISIBLE_DEVICES leaves, in its order; numbers count as nvidia-smi does, and the first name that fits
    nothing ends the list (CUDA C++ Programming Guide, environment variables)."""
    if setting is None:
        return gpus
    found: list[tuple[str, str, int]] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.isdigit():
            fitting = gpus[int(entry) : int(entry) + 1]
        else:
            fitting = [gpu for gpu in gpus if entry and gpu[0].startswith(entry)]
        if len(fitting) != 1:
            break
        found += fitting
    return found


def _output(command: tuple[str, ...]) -> str | None:
    """Standard output of a query; None when the program is missing, fails or does not end in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _usable_cores() -> int:
    process = psutil.Process()
    # macOS has no affinity, and psutil then no such method.
    affinity = process.cpu_affinity() if hasattr(process, "cpu_affinity") else None
    return len(affinity) if affinity else psutil.cpu_count() or 1


def _max_clock_hz() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    megahertz = (frequency.max or frequency.current) if frequency else 0
    return megahertz * 1e6 if megahertz else None


def _cpu_model() -> str | None:
    if platform.system() == "Darwin":
        return (_output(_SYSCTL) or "").strip() or None
    return _cpuinfo().get("model name") or platform.processor() or None


def _isa() -> tuple[str, ...]:
    if platform.system() == "Darwin":
        return ("neon",) if platform.machine() == "arm64" else ()
    info = _cpuinfo()
    present = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for flag, name in _ISA_OF_FLAG.items() if flag in present)


def _cpuinfo() -> dict[str, str]:
    """Fields of the first processor; empty where there is no such file."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
