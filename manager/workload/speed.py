"""Speed: the rates at which a device does each kind of op: peaks of the catalog times fitted efficiencies.

A rate that the silicon lacks is missing, and work that needs it is refused rather than timed at another type's rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manager.catalog.accelerators import Accelerator
from manager.units import Interval
from manager.workload.efficiencies import Efficiencies, Software, band_of, family_of, family_row

CPU_FAMILY = "cpu"
_HALF = ("bfloat16", "float16")
_SINGLE = "float32"
_PETA = 1e15
_GIGA = 1e9
_FLOPS_OF_MULTIPLY_ADD = 2.0
_ISSUED_PER_LANE = {"volta": 2.0, "turing": 2.0, "ampere-hbm": 2.0}
"""Instructions of threads per cycle and float32 lane: four schedulers of a multiprocessor issue 128, and those of
compute capability 7.0, 7.5 and 8.0 have 64 such lanes (CUDA C++ Programming Guide, throughput of native instructions).
"""
_PASSES_OF_FLOAT32 = 6.0
"""bfloat16 products that make one float32 product on matrix units without a type of their own for it (XLA on TPUs,
jax.lax.Precision.HIGHEST); the catalog has no float32 peak for those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Rates of one device under one software."""

    name: str
    family: str
    rates: Mapping[tuple[str, str], float]
    """Reached FLOP/s by kind of op and type as torch names it; a pair that is missing cannot be timed."""
    memory_bytes_per_s: float
    """Reached by kernels that only move bytes."""
    narrow_bytes_per_s: Mapping[str, float]
    """Reached by convolutions with few channels per group, by type."""
    narrow_flops_per_s: Mapping[str, float]
    """Of their arithmetic, by type."""
    epilogue_s_per_byte: float
    """Of a product, while its matrix units wait."""
    layout: Mapping[str, float]
    """By type, how often a convolution moves its bytes once more to order them; 0 for types that are missing."""
    exposed: float
    """Part of the shorter of arithmetic and memory time of a product that the longer one does not hide."""
    interference: float
    """Part by which computation slows down while devices exchange data under it."""
    launch_s: float
    """Per kernel, on the device."""
    issue_s: float
    """Per op of the forward pass, on the host; 0 where whole steps are compiled."""
    issue_backward_s: float
    step_s: float
    """Per micro-step, on the host."""
    tensor_s: float
    """Per trainable tensor and update, on the host."""
    copy_bytes_per_s: float
    """Of inputs from the host."""
    software: Software
    band: Interval
    """Factor on seconds: measured over predicted in sources that the fit had not seen, 10th and 90th percentile."""
    basis: str
    """Where the rates come from, for people."""


def speed_of(
    accelerator: Accelerator,
    *,
    software: Software,
    tf32_matmul: bool = False,
    tf32_convolution: bool = True,
    channels_last: bool = False,
    share: float = 1.0,
    efficiencies: Efficiencies | None = None,
) -> Speed | None:
    """The speed of one accelerator (one chip of a TPU slice); None when the catalog lacks its bandwidth or all peaks.

    Args:
        accelerator: specification from the catalog.
        software: eager, fused or xla.
        tf32_matmul: whether float32 products run on TF32 matrix units (torch's default: no).
        tf32_convolution: the same for convolutions (torch's default: yes).
        channels_last: memory format of images.
        share: part of the accelerator that was rented, 0 to 1.
        efficiencies: in place of the family's own (a fit tries them); None: the table's.
    """
    bandwidth = accelerator.memory_bandwidth_bytes_per_s
    family, sustained = family_of(accelerator.name)
    row = family_row(family)
    reached = efficiencies or row.efficiencies
    rates = {
        **_half_rates(accelerator, reached, sustained, channels_last=channels_last),
        **_single_rates(
            accelerator,
            reached,
            sustained,
            tf32_matmul=tf32_matmul,
            tf32_convolution=tf32_convolution,
            channels_last=channels_last,
        ),
    }
    if bandwidth is None or not rates:
        return None
    has_tf32 = tf32_convolution and accelerator.peak_tf32_flops_per_s is not None
    ordered = () if channels_last else (*_HALF, *((_SINGLE,) if has_tf32 else ()))
    return _device_speed(
        reached,
        name=accelerator.name,
        family=family,
        rates={key: rate * share for key, rate in rates.items()},
        memory_bytes_per_s=bandwidth * reached.bandwidth * share,
        narrow_bytes_per_s=_narrow_rates(bandwidth * share, reached, channels_last=channels_last),
        narrow_flops_per_s=_narrow_flops(accelerator, reached, share),
        epilogue_s_per_byte=_epilogue_s_per_byte(accelerator, reached, family) / share,
        layout=dict.fromkeys(ordered, reached.layout),
        copy_bytes_per_s=reached.copy_gb_per_second * _GIGA,
        software=software,
        basis=f"family {family}: {row.source}",
    )


def cpu_speed(
    *, vcpus: float, flops_per_s_per_vcpu: float, memory_bytes_per_s: float, software: Software, basis: str
) -> Speed:
    """A machine without an accelerator, from assumed rates per vCPU; half precision is taken to be no faster there."""
    row = family_row(CPU_FAMILY)
    rate = vcpus * flops_per_s_per_vcpu
    kinds = ("matmul", "attention", "convolution")
    return _device_speed(
        row.efficiencies,
        name=CPU_FAMILY,
        family=CPU_FAMILY,
        rates={(kind, dtype): rate for kind in kinds for dtype in (*_HALF, _SINGLE)},
        memory_bytes_per_s=memory_bytes_per_s,
        narrow_bytes_per_s=dict.fromkeys((*_HALF, _SINGLE), memory_bytes_per_s),
        narrow_flops_per_s=dict.fromkeys((*_HALF, _SINGLE), rate),
        # Inputs stay where they are, and one core after the other does all of an op.
        epilogue_s_per_byte=0.0,
        layout={},
        copy_bytes_per_s=memory_bytes_per_s,
        software=software,
        basis=basis,
    )


def _device_speed(
    efficiencies: Efficiencies,
    *,
    name: str,
    family: str,
    rates: Mapping[tuple[str, str], float],
    memory_bytes_per_s: float,
    narrow_bytes_per_s: Mapping[str, float],
    narrow_flops_per_s: Mapping[str, float],
    epilogue_s_per_byte: float,
    layout: Mapping[str, float],
    copy_bytes_per_s: float,
    software: Software,
    basis: str,
) -> Speed:
    """A speed with the fixed costs of its efficiencies and the band of its family."""
    return Speed(
        name=name,
        family=family,
        rates={
            (kind, dtype): rate * (software.attention_share if kind == "attention" else 1.0)
            for (kind, dtype), rate in rates.items()
        },
        memory_bytes_per_s=memory_bytes_per_s,
        narrow_bytes_per_s=narrow_bytes_per_s,
        narrow_flops_per_s=narrow_flops_per_s,
        epilogue_s_per_byte=epilogue_s_per_byte,
        layout=layout,
        exposed=efficiencies.exposed,
        interference=efficiencies.interference,
        launch_s=efficiencies.launch_s,
        issue_s=efficiencies.issue_s,
        issue_backward_s=efficiencies.issue_backward_s,
        step_s=efficiencies.step_s,
        tensor_s=efficiencies.tensor_s,
        copy_bytes_per_s=copy_bytes_per_s,
        software=software,
        band=band_of(family, software.name),
        basis=basis,
    )


_Rates = dict[tuple[str, str], float]


def _limited(rate: float, limit: float | None) -> float:
    """A rate behind a stage of limited speed: the times of both add up."""
    return rate if limit is None else 1 / (1 / rate + 1 / limit)


def _narrow_rates(bandwidth: float, reached: Efficiencies, *, channels_last: bool) -> dict[str, float]:
    half = bandwidth * (reached.narrow_last if channels_last else reached.narrow_half)
    return {**dict.fromkeys(_HALF, half), _SINGLE: bandwidth * reached.narrow_single}


def _narrow_flops(accelerator: Accelerator, reached: Efficiencies, share: float) -> dict[str, float]:
    """Ordinary lanes do them; where their peak is not known, the bytes alone set the time."""
    peak = accelerator.peak_fp32_flops_per_s
    if peak is None:
        return {}
    single = {_SINGLE: peak * reached.narrow_flops_single * share}
    return {**dict.fromkeys(_HALF, peak * reached.narrow_flops * share), **single}


def _epilogue_s_per_byte(accelerator: Accelerator, reached: Efficiencies, family: str) -> float:
    peak = accelerator.peak_fp32_flops_per_s
    if peak is None:
        return 0.0
    instructions_per_s = peak / _FLOPS_OF_MULTIPLY_ADD * _ISSUED_PER_LANE.get(family, 1.0)
    return reached.epilogue / instructions_per_s


def _half_rates(accelerator: Accelerator, reached: Efficiencies, sustained: float, *, channels_last: bool) -> _Rates:
    convolution = reached.convolution_last if channels_last else reached.convolution
    shares = {"matmul": reached.matmul_half, "attention": reached.attention, "convolution": convolution}
    limit = reached.convolution_limit * _PETA
    peaks = {"bfloat16": accelerator.peak_bf16_flops_per_s, "float16": accelerator.peak_fp16_flops_per_s}
    return {
        (kind, dtype): _limited(peak * sustained * share, limit if kind == "convolution" else None)
        for dtype, peak in peaks.items()
        if peak is not None
        for kind, share in shares.items()
    }


def _single_rates(
    accelerator: Accelerator,
    reached: Efficiencies,
    sustained: float,
    *,
    tf32_matmul: bool,
    tf32_convolution: bool,
    channels_last: bool,
) -> _Rates:
    convolution = reached.convolution_last if channels_last else reached.convolution
    tf32, fp32 = accelerator.peak_tf32_flops_per_s, accelerator.peak_fp32_flops_per_s
    on_matrix_units = {
        "matmul": (tf32_matmul, reached.matmul_tf32),
        "attention": (tf32_matmul, reached.attention),
        "convolution": (tf32_convolution, convolution),
    }
    rates: _Rates = {}
    for kind, (chosen, share) in on_matrix_units.items():
        if chosen and tf32 is not None:
            limit = reached.convolution_limit * _PETA if kind == "convolution" else None
            rates[kind, _SINGLE] = _limited(tf32 * sustained * share, limit)
        elif fp32 is not None:
            rates[kind, _SINGLE] = fp32 * reached.matmul_fp32
        elif accelerator.peak_bf16_flops_per_s is not None:
            half = {"matmul": reached.matmul_half, "attention": reached.attention, "convolution": convolution}[kind]
            rates[kind, _SINGLE] = accelerator.peak_bf16_flops_per_s * sustained * half / _PASSES_OF_FLOAT32
    return rates
