"""What the training program needs of a kind of task, and which module has it; a further task is one more file.

Shapes: B samples of a micro-batch; the rest is the task's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import nn

from tasks import causal_lm, image_classification, text_classification
from tasks.batching import Indices, Lengths
from tasks.failures import TaskError, nearest_hint
from tasks.job import Job
from tasks.kinds import TASK_KINDS
from tasks.methods import FreshModel
from tasks.metrics import Scores
from tasks.protocol import FailureCode
from tasks.reading import Notify


class Split(Protocol):
    """One set of samples, ready for the model."""

    @property
    def lengths(self) -> Lengths:
        """Length of each sample, by which batches are grouped: tokens, or 1 for images."""

    def __len__(self) -> int:
        """Samples; packed sequences where samples are packed."""


class Task(Protocol):
    """Everything of a task that stays the same over a run; splits come from the task itself."""

    @property
    def train(self) -> Any:
        """A Split."""

    @property
    def validation(self) -> Any:
        """A Split."""

    @property
    def test(self) -> Any:
        """A Split."""

    def data_facts(self) -> dict[str, Any]:
        """The fields of the `data` event."""

    def new_model(self, *, quantize: bool | None = None, device: str | None = None) -> FreshModel:
        """The pre-trained model; a new head is drawn from torch's seed."""

    def inputs(self, split: Any, indices: Indices) -> dict[str, torch.Tensor]:
        """What the model takes, for these samples, padded to the longest of them."""

    def targets(self, split: Any, indices: Indices) -> torch.Tensor:
        """What is to be learnt of these samples."""

    def weight(self, split: Any, indices: Indices) -> int:
        """What the loss of a batch is averaged over: samples, or tokens that are learnt; at least 1."""

    def loss_sum(self, model: nn.Module, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Forward pass and the sum of the losses in nats; a `tasks.step.LossSum`."""

    def rows(self, model: nn.Module, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Forward pass and, per sample, the numbers that `score` needs (B x any)."""

    def score(self, rows: NDArray[Any], split: Any) -> Scores:
        """Loss and metrics of a whole split; rows in the order of its samples.

        Raises:
            TaskError: not_a_number.
        """

    def save_processor(self, folder: Path) -> None:
        """Write what turns raw samples into inputs beside the tuned model."""


_LOADERS: dict[str, Callable[[Job, Notify, int | None], Task]] = {
    "text-classification": text_classification.load,
    "causal-lm": causal_lm.load,
    "image-classification": image_classification.load,
}


def load_task(job: Job, notify: Notify, *, most: int | None = None) -> Task:
    """Fetch, check, split and encode what the job names; of each set at most `most` samples, for a trial.

    Raises:
        TaskError: bad_job, model_not_found, data_not_found or data_invalid.
    """
    check_task(job)
    return _LOADERS[job.task](job, notify, most)


def check_task(job: Job) -> None:
    """Refuse a task that nobody knows, and one that can be planned only.

    Raises:
        TaskError: bad_job.
    """
    if job.task in _LOADERS:
        return
    if job.task in TASK_KINDS:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"The task {job.task} can be planned, not trained yet.",
            hint=f"Tasks that are trained: {', '.join(_LOADERS)}.",
        )
    raise TaskError(
        FailureCode.BAD_JOB, f"There is no task {job.task!r}.", hint=nearest_hint(job.task, TASK_KINDS, "tasks")
    )
