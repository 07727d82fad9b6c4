"""RunTraces: the traced step of one run, for accelerators and for processors."""

from __future__ import annotations

from dataclasses import dataclass

from manager.workload.request import USUAL_TARGET_SHARE
from tasks.step_trace import StepTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTraces:
    """One training step as each kind of device runs it."""

    cuda: StepTrace
    """With the kernels of a GPU; other accelerators are estimated from it too."""
    cpu: StepTrace | None = None
    """With the kernels of a CPU; None: not traced, the one of a GPU stands in for it."""
    cuda_timed: StepTrace | None = None
    """seq2seq-lm: with targets of the mean share, which time follows as memory does the longest; None: as `cuda`."""
    cpu_timed: StepTrace | None = None
    rank: int | None = None
    """LoRA rank of the run; None without adapters."""
    target_share: float = USUAL_TARGET_SHARE
    """seq2seq-lm: length of targets over that of sources, with which the step was traced."""
    notes: tuple[str, ...] = ()
    """What the user should know of these traces: what stands in for what, and why."""

    def on(self, *, is_cpu: bool) -> StepTrace:
        """The trace whose memory holds on this kind of device, or the closest one."""
        return self.cpu if is_cpu and self.cpu is not None else self.cuda

    def timed(self, *, is_cpu: bool) -> StepTrace:
        """The trace whose work holds there."""
        if is_cpu and self.cpu is not None:
            return self.cpu_timed or self.cpu
        return self.cuda_timed or self.cuda
