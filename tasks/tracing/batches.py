"""Synthetic micro-batches: the shapes and types that each task gives its model, without values.

Legend: B samples, S length of a sample in the unit of the task (see `step_trace`), T tokens of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tasks.step_trace import TraceRequest
from tasks.tracing.image_inputs import image_inputs
from tasks.tracing.images_in_text import image_part
from tasks.tracing.sounds import sound_inputs

DEFAULT_IMAGE_SIZE = 224
WAVE_SAMPLES_PER_CHARACTER = 1000
"""16,000 samples a second over about 16 spoken characters: length of a CTC transcript."""
PLAIN_TEXT_TASKS = ("text-classification", "causal-lm", "masked-lm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a model and its loss take."""

    inputs: dict[str, torch.Tensor]
    targets: torch.Tensor

    def tensors(self) -> list[torch.Tensor]:
        """All of it."""
        return [*self.inputs.values(), self.targets]


def new_batch(request: TraceRequest, config: Any, *, batch: int, length: int, dtype: torch.dtype, device: str) -> Batch:
    """One micro-batch; token ids are 0 and weights of attention masks 1, with no bearing on shapes."""
    make = _Maker(request=request, config=config, batch=batch, length=length, dtype=dtype, device=device)
    return make.by_task()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    request: TraceRequest
    config: Any
    batch: int
    length: int
    dtype: torch.dtype
    device: str

    def by_task(self) -> Batch:
        task = self.request.task
        if task == "text-classification":
            return Batch(inputs=self._text(self.length), targets=self._ids(self.batch))
        if task in PLAIN_TEXT_TASKS:
            return Batch(inputs=self._text(self.length), targets=self._ids(self.batch, self.length))
        if task == "seq2seq-lm":
            target = max(1, round(self.length * self.request.target_share))
            inputs = {**self._text(self.length), "decoder_input_ids": self._ids(self.batch, target)}
            return Batch(inputs=inputs, targets=self._ids(self.batch, target))
        if task == "image-classification":
            return Batch(inputs={"pixel_values": self._image()}, targets=self._ids(self.batch))
        if task == "audio-classification":
            return Batch(inputs=self._sound(), targets=self._ids(self.batch))
        if task == "speech-ctc":
            characters = max(1, self.length // WAVE_SAMPLES_PER_CHARACTER)
            return Batch(inputs=self._sound(), targets=self._ids(self.batch, characters))
        if task == "speech-seq2seq":
            inputs = {**self._sound(), "decoder_input_ids": self._ids(self.batch, self.length)}
            return Batch(inputs=inputs, targets=self._ids(self.batch, self.length))
        if task == "contrastive":
            return Batch(inputs=self._pairs(), targets=self._ids(self.batch))
        return self._image_and_text()

    def _ids(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.long, device=self.device)

    def _floats(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=self.dtype, device=self.device)

    def _text(self, length: int) -> dict[str, torch.Tensor]:
        inputs = {"input_ids": self._ids(self.batch, length)}
        if self.request.padded:
            inputs["attention_mask"] = torch.ones(self.batch, length, dtype=torch.long, device=self.device)
        return inputs

    def _image(self, part: Any = None) -> torch.Tensor:
        config = self.config if part is None else part
        # Configs of timm's models say it as channels, height, width.
        of_timm = (getattr(config, "pretrained_cfg", None) or {}).get("input_size", (None, None, None))
        size = self.request.image_size or getattr(config, "image_size", None) or of_timm[1] or DEFAULT_IMAGE_SIZE
        edges = tuple(size) if isinstance(size, list | tuple) else (size, size)
        return self._floats(self.batch, int(getattr(config, "num_channels", None) or 3), int(edges[0]), int(edges[1]))

    def _sound(self) -> dict[str, torch.Tensor]:
        return sound_inputs(
            self.request.task,
            self.config,
            batch=self.batch,
            length=self.length,
            dtype=self.dtype,
            device=self.device,
            padded=self.request.padded,
        )

    def _pairs(self) -> dict[str, torch.Tensor]:
        text, vision = self.config.text_config, self.config.vision_config
        length = min(self.length, int(getattr(text, "max_position_embeddings", self.length)))
        return {**self._text(length), "pixel_values": self._image(vision)}

    def _image_and_text(self) -> Batch:
        image = image_part(self.request, self.config.to_dict())
        tokens = self.length + image.tokens
        text = self._text(tokens)
        more = image_inputs(self.config, image, text["input_ids"], dtype=self.dtype, device=self.device)
        return Batch(inputs={**text, **more}, targets=self._ids(self.batch, tokens))
