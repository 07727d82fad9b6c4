"""Which batches a probe looks at, and how many evaluations and saves are ahead of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.batching import Indices, Lengths, epoch_batches, evaluation_batches, padded_tokens
from tasks.session import Session

_MOST_BATCHES = 1000
"""Of an epoch that are looked at."""


def longest_batch(session: Session) -> Indices:
    """The longest samples of the training set, as many as a batch has, longest first."""
    lengths = session.task.train.lengths
    found: Indices = np.argsort(-lengths, kind="stable")[: session.job.training.batch_size]
    return found


def typical_batches(session: Session, number: int) -> list[tuple[Indices, float]]:
    """Batches of the first epoch at evenly spaced places of their order by work, each with its padded length."""
    batches = _some_batches(session)
    shares = np.array(_shares(session, batches))
    order = np.argsort(shares, kind="stable")
    places = [int((at + 0.5) / number * len(batches)) for at in range(number)]
    return [(batches[order[place]], float(shares[order[place]])) for place in places]


def mean_share(session: Session) -> float:
    """Mean padded length of a batch."""
    return float(np.mean(_shares(session, _some_batches(session))))


def evaluations_ahead(session: Session) -> float:
    """All evaluations of the run, counted in the longest batch of the validation set."""
    validation, test = session.task.validation.lengths, session.task.test.lengths
    size = 2 * session.micro_batch
    first = evaluation_batches(validation, size)[0]
    one = padded_tokens(validation, [first])
    each = padded_tokens(validation, evaluation_batches(validation, size))
    # The test set is evaluated before and after.
    whole = intervals(session) * each + 2 * padded_tokens(test, evaluation_batches(test, size))
    return whole / one / int(session.accelerator.num_processes)


def intervals(session: Session) -> int:
    """Evaluations on the validation set in a run that goes to its last step."""
    due_every = session.job.training.eval_every_steps or session.steps_per_epoch
    return -(-session.total_steps // due_every)


def saves_ahead(session: Session) -> int:
    """Checkpoints of a run that goes to its last step, those of better evaluations between the regular ones aside."""
    every = session.job.training.checkpoint_every_steps
    return intervals(session) if every is None else session.total_steps // every + 1


def _some_batches(session: Session) -> list[Indices]:
    training = session.job.training
    batches = epoch_batches(session.task.train.lengths, training.batch_size, seed=training.seed, epoch=0)
    stride = -(-len(batches) // _MOST_BATCHES)
    return batches[::stride]


def _shares(session: Session, batches: Sequence[Indices]) -> list[float]:
    """Padded length of each batch as it is cut into micro-batches."""
    lengths: Lengths = session.task.train.lengths
    cut = session.micro_batch * int(session.accelerator.num_processes)
    return [
        float(padded_tokens(lengths, [batch[at : at + cut] for at in range(0, len(batch), cut)])) for batch in batches
    ]
