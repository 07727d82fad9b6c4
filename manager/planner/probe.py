"""What the probe with which a run begins takes (`tasks.probe`): it is billed like the training that it measures.

It times steps on batches of usual length, and what needs most memory: the longest samples as one batch, twice (the
first time two of its micro-batches, for gradients and optimizer state to come into being), a batch of an evaluation,
and a checkpoint. It ends after `ProbeChoice.longest_s`.
"""

from __future__ import annotations

from manager.planner.judge import Judgement
from manager.planner.spot import Ends
from manager.workload.memory_answer import EVALUATION_ROWS
from tasks.job import ProbeChoice

PROBE = "probe"
_CHOICE = ProbeChoice()
"""As each launch has it."""
_FIRST_MICRO_BATCHES = 2


def probe_s(judgement: Judgement, *, training_s: Ends, validation_s: Ends, checkpoint_s: Ends) -> Ends:
    """Low, expected and high seconds of the probe.

    The low end takes the longest samples to be as long as the mean ones, the others time to grow with their length.

    Args:
        judgement: one with seconds.
        training_s: of all steps, with their band.
        validation_s: of all evaluations on the validation set, with their band.
        checkpoint_s: of writing one checkpoint.
    """
    profile, machine, micro_batch = judgement.variant.profile, judgement.machine, judgement.micro_batch
    assert machine is not None
    assert micro_batch is not None
    assert judgement.accumulation is not None
    rows = micro_batch * machine.replicas
    longest = max(1.0, profile.peak_length / profile.mean_step_length(min(rows, profile.batch_size)))
    usual = min(_CHOICE.steps, profile.steps)
    heavy = 1 + min(_FIRST_MICRO_BATCHES, judgement.accumulation) / judgement.accumulation
    validated = profile.evaluations * profile.data.validation_samples
    batch = min(EVALUATION_ROWS * rows, profile.data.validation_samples) / validated if validated else 0.0

    def seconds(end: int, times: float) -> float:
        steps_s = training_s[end] / profile.steps * (usual + heavy * times)
        return min(_CHOICE.longest_s, steps_s + validation_s[end] * batch * times + checkpoint_s[end])

    return seconds(0, 1.0), seconds(1, longest), seconds(2, longest)
