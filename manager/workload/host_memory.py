"""What a job on accelerators takes of its host's memory at the highest moment; pure.

Each replica is a process with the libraries and the data set. On top comes the largest of three moments: loading (all
processes), a checkpoint or the exported model on its way to the disk (the first process alone). Pages of a model's
files do not count: they are mapped, the kernel drops them when memory is short and the processes share them.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.workload.memory_answer import MemoryAnswer
from manager.workload.memory_device import constant
from manager.workload.placement import Placement
from manager.workload.profile import WorkloadProfile

SYSTEM_SHARE = 0.1
"""Part of a host's memory that is the system's."""
_TEXT = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Bytes of one machine."""

    processes: int
    process_bytes: int
    """Of each: Python, the training libraries and the accelerator's."""
    data_bytes: int
    """Of each: texts and their tokens; images and recordings are read when a batch needs them."""
    loading_bytes: int
    """Of each, while the model is read; gone before training."""
    shards_bytes: int
    """Of each: what lives on the host instead of the device."""
    checkpoint_bytes: int
    """Of all: copies of what is being written."""
    export_bytes: int
    """Of the first: the tuned model on its way to the disk."""

    @property
    def peak_bytes(self) -> int:
        """At the highest moment."""
        always = self.processes * (self.process_bytes + self.data_bytes + self.shards_bytes)
        return always + max(self.processes * self.loading_bytes, self.checkpoint_bytes, self.export_bytes)

    @property
    def peak(self) -> str:
        """What the host does at that moment, for people."""
        moments = {
            "the model is read": self.processes * self.loading_bytes,
            "a checkpoint is written": self.checkpoint_bytes,
            "the tuned model is exported": self.export_bytes,
        }
        return max(moments, key=lambda moment: moments[moment])

    def fits(self, host_bytes: float) -> bool:
        """Whether a host with this much memory, the system's part in it, carries the job."""
        return self.peak_bytes <= host_bytes * (1 - SYSTEM_SHARE)


def host_memory(profile: WorkloadProfile, memory: MemoryAnswer, placement: Placement) -> HostMemory:
    """What the host of a machine with accelerators needs.

    Args:
        profile: what the run demands.
        memory: of one device.
        placement: of the devices, each of which has a process.
    """
    processes, data = placement.devices, profile.data
    samples = data.train_samples + data.validation_samples + data.test_samples
    token_bytes = constant("host_token", profile.task).value if data.kind == _TEXT else 0.0
    copied_by = processes if placement.is_sharded or placement.tensor_parallel > 1 else 1
    return HostMemory(
        processes=processes,
        process_bytes=round(constant("accelerator_process").value),
        data_bytes=round(samples * data.mean_tokens * token_bytes) + (data.bytes if data.kind == _TEXT else 0),
        loading_bytes=profile.loading_bytes,
        shards_bytes=memory.host_bytes if placement.cpu_offload else 0,
        checkpoint_bytes=0 if placement.cpu_offload else copied_by * memory.host_bytes,
        export_bytes=profile.export_bytes,
    )
