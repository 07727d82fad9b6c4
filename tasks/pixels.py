"""Images to the numbers that a model takes: decode, resize, crop, scale, normalise, as preprocessor_config.json says.

Pillow resizes and NumPy computes, so that transformers' own processors, which need torchvision, are not wanted. What
the file does not say has the values of ImageNet. No augmentation: the same image gives the same numbers each time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.media_data import Item
from tasks.protocol import FailureCode

PREPROCESSOR_FILE = "preprocessor_config.json"
DEFAULT_EDGE = 224
MOST_PIXELS = 100_000_000
"""Of one picture in a data set, 300 MB when unpacked; a larger one is refused before it is."""
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_BILINEAR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPipeline:
    """How one model wants its images; edges are height and width in pixels."""

    size: tuple[int, int]
    """What comes out."""
    resize_shortest: int | None
    """Resize so that the shorter edge has this length, then cut out the middle; None: resize to `size` outright."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One per channel, for values between 0 and 1."""
    channels: int
    """1 (grey) or 3."""
    resample: int = _BILINEAR
    """Filter by Pillow's number."""

    def pixels(self, item: Item) -> NDArray[np.float32]:
        """One image as channels x height x width.

        Raises:
            TaskError: data_invalid, when it cannot be decoded.
        """
        image = _decoded(item, "L" if self.channels == 1 else "RGB")
        height, width = self.size
        if self.resize_shortest is None:
            image = image.resize((width, height), resample=self.resample)
        else:
            shorter = min(image.size)
            scaled = tuple(max(1, int(edge * self.resize_shortest / shorter)) for edge in image.size)
            image = image.resize(scaled, resample=self.resample)
            left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
            image = image.crop((left, top, left + width, top + height))
        values = np.asarray(image, dtype=np.float32).reshape(height, width, self.channels) / 255.0
        normal = (values - np.array(self.mean, dtype=np.float32)) / np.array(self.std, dtype=np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))

    def to_json(self) -> str:
        """The same as a preprocessor_config.json that transformers reads."""
        height, width = self.size
        edges = {"height": height, "width": width}
        size = edges if self.resize_shortest is None else {"shortest_edge": self.resize_shortest}
        settings = {
            "image_processor_type": "ViTImageProcessor" if self.resize_shortest is None else "CLIPImageProcessor",
            "do_resize": True,
            "size": size,
            "resample": self.resample,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "do_convert_rgb": self.channels == 3,
        }
        if self.resize_shortest is not None:
            settings |= {"do_center_crop": True, "crop_size": edges}
        return json.dumps(settings, indent=2) + "\n"


def pixel_pipeline(folder: Path, image_size: int | None) -> PixelPipeline:
    """The pipeline of the model in this folder.

    Args:
        folder: config.json, and preprocessor_config.json where there is one.
        image_size: pixels along one edge; None: the model's own, else 224.

    Raises:
        TaskError: model_not_found, when a file cannot be read.
    """
    config, settings = _json(folder / "config.json"), _json(folder / PREPROCESSOR_FILE)
    channels = int(config.get("num_channels") or 3)
    size, crop = settings.get("size"), settings.get("crop_size")
    own = _edges(crop if settings.get("do_center_crop", crop is not None) and crop else size)
    edges = (image_size, image_size) if image_size else own or _edges(config.get("image_size"))
    edges = edges or (DEFAULT_EDGE, DEFAULT_EDGE)
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    crops = settings.get("do_center_crop", False) or settings.get("crop_pct") is not None
    if shortest is not None and settings.get("crop_pct") and edges[0] < 384:
        # ConvNeXt resizes to more than it cuts out: transformers' ConvNextImageProcessor.
        shortest = int(edges[0] / float(settings["crop_pct"]))
    if image_size and shortest:
        shortest = max(image_size, round(shortest * image_size / min(own))) if own else image_size
    keep = channels if channels in (1, 3) else 3
    return PixelPipeline(
        size=edges,
        resize_shortest=max(int(shortest), *edges) if shortest and crops else None,
        mean=_per_channel(settings.get("image_mean"), _IMAGENET_MEAN, keep),
        std=_per_channel(settings.get("image_std"), _IMAGENET_STD, keep),
        channels=keep,
        resample=int(settings.get("resample") or _BILINEAR),
    )


def _decoded(item: Item, mode: str) -> Any:
    from PIL import Image, UnidentifiedImageError  # Deferred: only images need it.

    try:
        if isinstance(item, np.ndarray):
            grey = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
            return Image.fromarray(grey).convert(mode)
        with Image.open(BytesIO(item) if isinstance(item, bytes) else item) as image:
            # Its own bound is a warning first: a few kilobytes may unpack to gigabytes.
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
            return image.convert(mode)
    except (
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        OSError,
        UnidentifiedImageError,
        ValueError,
        TypeError,
    ) as error:
        name = item.name if isinstance(item, Path) else "An image"
        raise TaskError(FailureCode.DATA_INVALID, f"{name} cannot be decoded: {str(error)[:200]}.") from error


def _edges(size: Any) -> tuple[int, int] | None:
    """Height and width from the forms that configs give a size in."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, list) and len(size) == 2:
        return int(size[0]), int(size[1])
    if isinstance(size, dict):
        if "height" in size and "width" in size:
            return int(size["height"]), int(size["width"])
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
    return None


def _per_channel(given: Any, default: tuple[float, ...], channels: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in given) if isinstance(given, list) and given else default
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"{path.name} is no valid JSON: {error}") from error
    return content if isinstance(content, dict) else {}
