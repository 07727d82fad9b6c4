"""The task `image-classification`: its loader, pixels, head, loss and metrics.

Images are decoded when a batch needs them; an epoch decodes each once, in the process that trains.
Shapes: B samples of a micro-batch, C classes, K channels, H and W pixels.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tasks.batching import Indices
from tasks.few_samples import cut
from tasks.image_data import load_images
from tasks.job import Job
from tasks.loading import load_classifier
from tasks.losses import label_loss_sum
from tasks.media_data import MediaData, MediaSet
from tasks.methods import FreshModel, fresh_model
from tasks.metrics import Scores, classification_scores
from tasks.pixels import PREPROCESSOR_FILE, PixelPipeline, pixel_pipeline
from tasks.positions import STRETCH, stretches_positions
from tasks.reading import Notify
from tasks.sources import local_model

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One set of images."""

    images: MediaSet

    @property
    def lengths(self) -> NDArray[np.int64]:
        """1 each: all images are computed at one size."""
        return np.ones(len(self.images), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClassification:
    """Everything of the task that stays the same over a run."""

    job: Job
    folder: Path
    """The pre-trained model, on this machine."""
    pipeline: PixelPipeline
    data: MediaData
    train: Split
    validation: Split
    test: Split

    def data_facts(self) -> dict[str, Any]:
        """The fields of the `data` event; an image counts as one token."""
        return {
            "source": self.data.source,
            "sha256": self.data.sha256,
            "train_samples": len(self.train),
            "validation_samples": len(self.validation),
            "test_samples": len(self.test),
            "labels": list(self.data.labels),
            "label_counts": self.data.label_counts(),
            "tokens_per_epoch": len(self.train),
            "mean_tokens": 1.0,
            "longest_tokens": 1,
            "truncated_samples": 0,
            "image_size": list(self.pipeline.size),
        }

    def new_model(self, *, quantize: bool | None = None, device: str | None = None) -> FreshModel:
        """The pre-trained model with a head for these labels; a new head is drawn from torch's seed.

        Args:
            quantize: whether the base is read in 4 bits; None: as the method says.
            device: `cpu`, or `meta` for names and shapes without values; None: where the job trains.

        Raises:
            TaskError: model_not_found, when the folder holds nothing that can be loaded for this task; bad_job.
        """
        from transformers import AutoModelForImageClassification  # Kept out of the import of this module: seconds.

        loaded = load_classifier(
            AutoModelForImageClassification,
            self.folder,
            self.job,
            self.data.labels,
            purpose="image classification",
            quantize=quantize,
            device=device,
        )
        return fresh_model(loaded.model, missing=loaded.missing, adapter_task=None)

    def inputs(self, split: Split, indices: Indices) -> Tensors:
        """Pixels (B x K x H x W)."""
        pixels = np.stack([self.pipeline.pixels(split.images.items[at]) for at in indices])
        return {"pixel_values": torch.from_numpy(pixels)}

    def targets(self, split: Split, indices: Indices) -> torch.Tensor:
        """Label indices (B)."""
        return torch.from_numpy(split.images.labels[indices])

    def weight(self, split: Split, indices: Indices) -> int:
        """Samples."""
        return len(indices)

    def loss_sum(self, model: nn.Module, inputs: Tensors, targets_B: torch.Tensor) -> torch.Tensor:
        """Forward pass, and the sum of the samples' cross-entropies in nats, computed in float32."""
        return label_loss_sum(self.rows(model, inputs, targets_B), targets_B)

    def rows(self, model: nn.Module, inputs: Tensors, targets_B: torch.Tensor) -> torch.Tensor:
        """Logits (B x C)."""
        return cast(torch.Tensor, model(**_typed(inputs, model), **self._options(model)).logits)

    def score(self, logits: NDArray[np.float64], split: Split) -> Scores:
        """Metrics of a whole split; logits in the order of its samples."""
        return classification_scores(logits, split.images.labels, self.data.labels)

    def save_processor(self, folder: Path) -> None:
        """Write preprocessor_config.json: the model's own, or that of another size."""
        own = self.folder / PREPROCESSOR_FILE
        if own.is_file() and self.job.training.image_size is None:
            shutil.copyfile(own, folder / PREPROCESSOR_FILE)
        else:
            (folder / PREPROCESSOR_FILE).write_text(self.pipeline.to_json(), encoding="utf-8")

    def _options(self, model: nn.Module) -> dict[str, bool]:
        """Vision transformers stretch their position embeddings to another size only when they are told to."""
        base: Any = model.module if hasattr(model, "module") else model
        base = base.get_base_model() if hasattr(base, "get_base_model") else base
        return {STRETCH: True} if stretches_positions(base, self.pipeline.size) else {}


def load(job: Job, notify: Notify, most: int | None = None) -> ImageClassification:
    """Fetch, check and split what the job names.

    Raises:
        TaskError: bad_job, model_not_found, data_not_found or data_invalid.
    """
    folder = local_model(job.model.source, job.model.revision)
    data = cut(load_images(job.data, seed=job.training.seed, notify=notify, with_hash=True), most)
    return ImageClassification(
        job=job,
        folder=folder,
        pipeline=pixel_pipeline(folder, job.training.image_size),
        data=data,
        train=Split(images=data.train),
        validation=Split(images=data.validation),
        test=Split(images=data.test),
    )


def _typed(inputs: Tensors, model: nn.Module) -> Tensors:
    """Pixels in the type of the weights: convolutions take no other; autocast casts by itself."""
    dtype = next((part.dtype for part in model.parameters() if part.is_floating_point()), torch.float32)
    return {name: value.to(dtype) for name, value in inputs.items()}
