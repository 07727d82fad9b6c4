"""The task `text-classification`: its loader, collator, head, loss and metrics.

Shapes: B samples of a micro-batch, T tokens of its longest sample, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tasks.batching import Indices
from tasks.data import LabelledData, Samples, load_data
from tasks.few_samples import cut
from tasks.job import Job
from tasks.loading import load_classifier
from tasks.losses import classification_loss_sum
from tasks.methods import FreshModel, fresh_model
from tasks.metrics import Scores, classification_scores
from tasks.reading import Notify
from tasks.sources import local_model
from tasks.tokens import Encoded, check_max_length, encode, load_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One set of samples as token ids."""

    encoded: Encoded
    labels: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample after truncation."""
        return self.encoded.lengths.tokens

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextClassification:
    """Everything of the task that stays the same over a run."""

    job: Job
    folder: Path
    """The pre-trained model, on this machine."""
    tokenizer: Any
    data: LabelledData
    train: Split
    validation: Split
    test: Split

    def data_facts(self) -> dict[str, Any]:
        """The fields of the `data` event."""
        tokens = self.train.lengths
        return {
            "source": self.data.source,
            "sha256": self.data.sha256,
            "train_samples": len(self.train),
            "validation_samples": len(self.validation),
            "test_samples": len(self.test),
            "labels": list(self.data.labels),
            "label_counts": self.data.label_counts(),
            "tokens_per_epoch": int(tokens.sum()),
            "mean_tokens": float(tokens.mean()),
            "longest_tokens": int(tokens.max()),
            "truncated_samples": self.train.encoded.lengths.truncated,
        }

    def new_model(self, *, quantize: bool | None = None, device: str | None = None) -> FreshModel:
        """The pre-trained model with a head for these labels; a new head is drawn from torch's seed.

        Args:
            quantize: whether the base is read in 4 bits; None: as the method says.
            device: `cpu`, or `meta` for names and shapes without values; None: where the job trains.

        Raises:
            TaskError: model_not_found, when the folder holds nothing that can be loaded for this task; bad_job.
        """
        from transformers import AutoModelForSequenceClassification  # Kept out of the import of this module: seconds.

        loaded = load_classifier(
            AutoModelForSequenceClassification,
            self.folder,
            self.job,
            self.data.labels,
            purpose="text classification",
            quantize=quantize,
            device=device,
        )
        # A decoder would keep keys and values for a continuation that a classifier never makes.
        loaded.model.config.use_cache = False
        if loaded.model.config.pad_token_id is None:
            loaded.model.config.pad_token_id = self.tokenizer.pad_token_id
        return fresh_model(loaded.model, missing=loaded.missing)

    def inputs(self, split: Split, indices: Indices) -> dict[str, torch.Tensor]:
        """Token ids (B x T), attention mask (B x T) and so on, padded to the longest of these samples."""
        columns = {name: [values[at] for at in indices] for name, values in split.encoded.columns.items()}
        padded = self.tokenizer.pad(columns, padding=True, return_attention_mask=True, return_tensors="pt")
        return dict(padded)

    def targets(self, split: Split, indices: Indices) -> torch.Tensor:
        """Label indices (B)."""
        return torch.from_numpy(split.labels[indices])

    def loss_sum(self, model: nn.Module, inputs: dict[str, torch.Tensor], targets_B: torch.Tensor) -> torch.Tensor:
        """Forward pass, and the sum of the samples' cross-entropies in nats, computed in float32."""
        return classification_loss_sum(model, inputs, targets_B)

    def weight(self, split: Split, indices: Indices) -> int:
        """Samples."""
        return len(indices)

    def rows(self, model: nn.Module, inputs: dict[str, torch.Tensor], targets_B: torch.Tensor) -> torch.Tensor:
        """Logits (B x C)."""
        return cast(torch.Tensor, model(**inputs).logits)

    def score(self, logits: NDArray[np.float64], split: Split) -> Scores:
        """Metrics of a whole split; logits in the order of its samples."""
        return classification_scores(logits, split.labels, self.data.labels)

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(str(folder))


def load(job: Job, notify: Notify, most: int | None = None) -> TextClassification:
    """Fetch, check, split and tokenize what the job names.

    Raises:
        TaskError: bad_job, model_not_found, data_not_found or data_invalid.
    """
    folder = local_model(job.model.source, job.model.revision)
    check_max_length(folder, job.training.max_length)
    data = cut(load_data(job.data, seed=job.training.seed, notify=notify), most)
    tokenizer = load_tokenizer(folder)

    def split(samples: Samples) -> Split:
        return Split(encoded=encode(tokenizer, samples, job.training.max_length), labels=samples.labels)

    return TextClassification(
        job=job,
        folder=folder,
        tokenizer=tokenizer,
        data=data,
        train=split(data.train),
        validation=split(data.validation),
        test=split(data.test),
    )
