"""Calibration: what measured runs on a device say about estimates for it; it arrives as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt

from manager.units import Interval

_BAND_OF_ONE_RUN = 0.35
_NARROWEST_BAND = 0.08
_NORMAL_90 = 1.645


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Measured against estimated, on one kind of device."""

    device: str
    """`cloud/accelerator` (cloud/cpu without one); `*/accelerator` holds on each cloud. See `device_keys`."""
    time_factor: float
    """Measured training time over estimated time, geometric mean of the runs; 1 is a perfect estimate."""
    memory_factor: float | None
    """Measured peak memory over estimated peak (on a GPU both without the CUDA context), largest of the runs; None
    where no run measured it."""
    runs: int
    """Runs behind the factors, at least 1."""
    spread: float = 0.0
    """Standard deviation of the logarithms of the runs' factors on time; 0 with one run, of which nobody knows it."""
    basis: str
    """For people: `3 runs on this machine, last 2026-11-20` ..."""

    def band(self) -> Interval:
        """The factor on training time, for the next run.

        Its half-width falls with the square root of the number of runs, and is never less than what the runs differed
        by among themselves: of 90 in 100 runs like them, by the normal distribution of the logarithms.
        """
        half = max(_NARROWEST_BAND, _BAND_OF_ONE_RUN / sqrt(self.runs))
        factor, apart = self.time_factor, exp(_NORMAL_90 * self.spread * sqrt(1 + 1 / self.runs))
        return Interval(
            low=min(factor * (1 - half), factor / apart), expected=factor, high=max(factor * (1 + half), factor * apart)
        )


def device_keys(cloud: str, accelerator: str | None) -> tuple[str, str]:
    """Keys under which a calibration of this device is looked for, the closer one first."""
    name = accelerator or "cpu"
    return f"{cloud}/{name}", f"*/{name}"


def calibration_of(cloud: str, accelerator: str | None, calibrations: Sequence[Calibration]) -> Calibration | None:
    """The calibration that fits best, None when there is none for this device."""
    by_device = {calibration.device: calibration for calibration in calibrations}
    for key in device_keys(cloud, accelerator):
        if key in by_device:
            return by_device[key]
    return None
