"""What a job on accelerators takes of its host's memory at the highest moment; pure.

Each replica is a process with the libraries and the data set. On top comes the largest of three moments: loading (all
processes; where weights are divided, the first process alone), a checkpoint or the exported model on its way to the
disk (the first process alone). Of several nodes the one with the first process needs the most, and nothing of what that
one does is shared by the others. Pages of a model's files do not count: they are mapped, the kernel drops them when
memory is short and the processes share them.
Every constant is a row of `data/memory_constants.csv` with its range, which makes the range of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from manager.workload.memory_answer import MemoryAnswer
from manager.workload.memory_device import Constant, constant
from manager.workload.placement import Placement
from manager.workload.profile import WorkloadProfile

_TEXT = "tokens"
_PROCESS, _LOADING, _WRITING, _SYSTEM = "accelerator_process", "host_loading", "host_writing", "host_system"
_CHECKPOINT = "host_checkpoint"
LOADING, CHECKPOINT, EXPORT = "the model is read", "a checkpoint is written", "the tuned model is exported"
"""Moments of a host's peak, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Bytes of one machine."""

    processes: int
    process_bytes: int
    """Of each: Python, the training libraries and the accelerator's."""
    data_bytes: int
    """Of each: texts and their tokens; images and recordings are read when a batch needs them."""
    loading_bytes: int
    """Of all, while the model is read; gone before training."""
    shards_bytes: int
    """Of each: what lives on the host instead of the device."""
    checkpoint_bytes: int
    """Of the first: copies of the tensor that is being written."""
    export_bytes: int
    """Of the first: the tuned model on its way to the disk."""

    @property
    def peak_bytes(self) -> int:
        """At the highest moment."""
        always = self.processes * (self.process_bytes + self.data_bytes + self.shards_bytes)
        return always + max(self.loading_bytes, self.checkpoint_bytes, self.export_bytes)

    @property
    def peak(self) -> str:
        """What the host does at that moment, for people; of equal ones the last, which no other way to read avoids."""
        moments = {
            EXPORT: self.export_bytes,
            CHECKPOINT: self.checkpoint_bytes,
            LOADING: self.loading_bytes,
        }
        return max(moments, key=lambda moment: moments[moment])


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNeed:
    """What the host of one machine needs, as far as it is known."""

    low: HostMemory
    expected: HostMemory
    high: HostMemory
    basis: str
    """Where the constants come from, for people."""

    def exceeds(self, host_bytes: float) -> bool:
        """Whether not even the least of it fits beside the least that the system takes."""
        return self.low.peak_bytes > host_bytes * (1 - constant(_SYSTEM).low)

    def may_exceed(self, host_bytes: float) -> bool:
        """Whether the most of it does not fit beside the most that the system takes."""
        return self.high.peak_bytes > host_bytes * (1 - constant(_SYSTEM).high)


def host_need(profile: WorkloadProfile, memory: MemoryAnswer, placement: Placement) -> HostNeed:
    """What the host of a machine with accelerators needs, with its range.

    Args:
        profile: what the run demands.
        memory: of one device.
        placement: of the machine's devices, each of which has a process.
    """
    low, expected, high = (
        _host_memory(profile, memory, placement, end)
        for end in (lambda row: row.low, lambda row: row.value, lambda row: row.high)
    )
    moments = {LOADING: _LOADING, CHECKPOINT: _CHECKPOINT, EXPORT: _WRITING}
    rows = [constant(_PROCESS), constant(moments[expected.peak])]
    return HostNeed(low=low, expected=expected, high=high, basis="; ".join(row.source for row in rows))


def least_host_bytes(profile: WorkloadProfile, memory: MemoryAnswer, placement: Placement) -> float:
    """The smallest host that `HostNeed.exceeds` lets pass; arguments as `host_need`."""
    return _host_memory(profile, memory, placement, lambda row: row.low).peak_bytes / (1 - constant(_SYSTEM).low)


def _host_memory(
    profile: WorkloadProfile, memory: MemoryAnswer, placement: Placement, end: Callable[[Constant], float]
) -> HostMemory:
    """The lines with one end of each constant's range."""
    processes, data = placement.devices, profile.data
    samples = data.train_samples + data.validation_samples + data.test_samples
    token_bytes = end(constant("host_token", profile.task)) if data.kind == _TEXT else 0.0
    is_divided = placement.is_sharded
    read = profile.whole_loading_bytes if is_divided else processes * profile.loading_bytes
    exported = profile.whole_export_bytes if is_divided else profile.export_bytes
    written = 0 if placement.cpu_offload else memory.host_bytes
    return HostMemory(
        processes=processes,
        process_bytes=round(end(constant(_PROCESS))),
        data_bytes=round(samples * data.mean_tokens * token_bytes) + (data.bytes if data.kind == _TEXT else 0),
        loading_bytes=round(read * end(constant(_LOADING))),
        shards_bytes=memory.host_bytes if placement.cpu_offload else 0,
        checkpoint_bytes=round(written * end(constant(_CHECKPOINT))),
        export_bytes=round(exported * end(constant(_WRITING))),
    )
