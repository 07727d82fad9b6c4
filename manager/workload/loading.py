"""Loading: the host prepares samples while the device trains, so the slower of the two sets the time.

Rates per vCPU are assumptions of the planner; text is tokenized once before training and does not come here.
"""

from __future__ import annotations


def loading_seconds(*, samples: float, samples_per_s_per_vcpu: float, vcpus: float) -> float:
    """Seconds in which all vCPUs of a machine read, decode and augment so many samples."""
    return samples / (samples_per_s_per_vcpu * vcpus)


def with_loading_s(training_s: float, loading_s: float) -> float:
    """Seconds of training with samples prepared beside it: workers run ahead, so only the slower of the two is seen."""
    return max(training_s, loading_s)
