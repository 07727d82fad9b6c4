"""What one square image of a sample becomes for each family of vision-language models, by their processors' arithmetic.

Owns numbers only: patches, tiles, places in the sequence; reads a config as a mapping. One image a sample, of
training.image_size pixels along one edge, else of the size to which config or processor bring each image; where both
leave it as it is, the size has to be said. Families are those whose processors are written down here (transformers
5.17, `models/*/processing_*.py` and `image_processing_*.py`); others are refused by their model_type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.step_trace import TraceRequest
from tasks.tracing.equal_images import ONE_BY_ONE
from tasks.tracing.refusal import RefusedModel

_TOWERS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Encoders of LLaVA with the positions that they put before the patches."""
_TILES_ALONG = 4
"""Of Idefics 3 and SmolVLM: their processors bring the longest edge of each image to as many tiles."""
_MOST_TILES = 12
"""Of InternVL."""
_LEAST_TEXT = 24
"""Tokens: three lengths at which a step is recorded."""
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """One image of a sample."""

    edge: int
    """Pixels along one edge of what the encoder reads at once."""
    places: int
    """Tokens of the sequence that the model replaces by features."""
    markers: int = 0
    """Tokens that the processor writes around them."""
    tiles: int = 1
    """Pictures of `edge` pixels that the image is cut into, with the whole image made small."""
    size: int = 0
    """Pixels along one edge of the image."""
    grid: int = 0
    """Patches along one edge, for encoders that take patches of all images in one row; else 0."""

    @property
    def tokens(self) -> int:
        """What the image adds to the tokens of the text."""
        return self.places + self.markers


def image_part(request: TraceRequest, config: Config) -> ImagePart:
    """The image of a sample.

    Args:
        request: whose image_size counts where the model can read another size than its own.
        config: complete, with the defaults of its model type.

    Raises:
        RefusedModel: a family that is not known, or an image size that the model cannot read.
    """
    kind = str(config.get("model_type"))
    family = _FAMILIES.get(kind)
    if family is None:
        raise RefusedModel(
            f"How the processor of {kind!r} writes an image into the text is not known here.",
            field="model_type",
            hint=f"Vision-language models that are planned: {', '.join(_FAMILIES)}.",
        )
    image = family(config, request.image_size)
    text = config.get("text_config") or {}
    positions = text.get("max_position_embeddings")
    if isinstance(positions, int) and image.tokens + _LEAST_TEXT > positions:
        raise RefusedModel(
            f"An image of {image.size} x {image.size} pixels takes {image.tokens:,} of {positions:,} positions and "
            "leaves none for a text.",
            field="image_size",
            hint="Set training.image_size to less; max_position_embeddings of text_config says how many there are.",
        )
    return image


def image_notes(request: TraceRequest, config: Config) -> list[str]:
    """What a trace takes for granted about images, for people."""
    image = image_part(request, config)
    size, tokens = f"{image.size} x {image.size} pixels", f"{image.tokens:,} token{'' if image.tokens == 1 else 's'}"
    each = f"One image of {size} a sample adds {tokens} to those of its text."
    if config["model_type"] not in ONE_BY_ONE:
        return [each]
    at_once = "Its images are taken at once where the model takes one after the other"
    if request.attention == "eager":
        at_once += ", so that memory is an upper bound"
    return [each, at_once + "."]


def _fixed(config: Config, size: int | None) -> tuple[int, int]:
    """Edge and patches along it, of encoders with one table of positions."""
    vision = config["vision_config"]
    edge, patch = (_edge(vision[name]) for name in ("image_size", "patch_size"))
    if size not in (None, edge):
        raise _wrong_size(config, f"images of {edge} pixels along one edge, not {size}")
    return edge, edge // patch


def _llava(config: Config, size: int | None) -> ImagePart:
    edge, patches = _fixed(config, size)
    return ImagePart(edge=edge, size=edge, places=patches**2 + _beside_patches(config))


def _llava_next(config: Config, size: int | None) -> ImagePart:
    """Tiles of the resolution that fits best, with one place more at the end of each row, and the whole image."""
    edge, patches = _fixed(config, None)
    size = _said(config, size)
    height, width = _best_resolution(size, config["image_grid_pinpoints"])
    rows, columns = patches * height // edge, patches * width // edge
    # A square image fills a square of the tiles; what pads it to their shape is cut away, the same on both sides.
    if columns > rows:
        columns -= 2 * ((columns - rows) // 2)
    else:
        rows -= 2 * ((rows - columns) // 2)
    return ImagePart(
        edge=edge,
        size=size,
        places=patches**2 + _beside_patches(config) + rows * (columns + 1),
        tiles=1 + (height // edge) * (width // edge),
    )


def _qwen2_vl(config: Config, size: int | None) -> ImagePart:
    vision = config["vision_config"]
    size = _said(config, size)
    merged = vision["spatial_merge_size"]
    factor = vision["patch_size"] * merged
    edge = max(factor, round(size / factor) * factor)
    grid = edge // vision["patch_size"]
    # Two marks: where vision starts and ends.
    return ImagePart(edge=edge, size=edge, places=(grid // merged) ** 2, markers=2, grid=grid)


def _idefics3(config: Config, size: int | None) -> ImagePart:
    """One picture, or a square of tiles, each with two marks, a line's end after each row, and the image made small."""
    edge, patches = _fixed(config, None)
    along = _TILES_ALONG if size is None else -(-size // edge)
    tiles = along**2 if along > 1 else 0
    return ImagePart(
        edge=edge,
        size=along * edge,
        places=(tiles + 1) * patches**2 // config["scale_factor"] ** 2,
        markers=3 + (2 * tiles + along if tiles else 0),
        tiles=tiles + 1,
    )


def _paligemma(config: Config, size: int | None) -> ImagePart:
    edge, patches = _fixed(config, size)
    return ImagePart(edge=edge, size=edge, places=patches**2)


def _gemma3(config: Config, size: int | None) -> ImagePart:
    edge, _ = _fixed(config, size)
    # Start and end of the image, and an empty line before and after.
    return ImagePart(edge=edge, size=edge, places=int(config["mm_tokens_per_image"]), markers=4)


def _internvl(config: Config, size: int | None) -> ImagePart:
    """As many tiles as cover no more than twice the image, and the image made small."""
    edge, patches = _fixed(config, None)
    size = _said(config, size)
    along = max(n for n in range(1, math.isqrt(_MOST_TILES) + 1) if n == 1 or 2 * size**2 > (n * edge) ** 2)
    tiles = along**2 + 1 if along > 1 else 1
    each = int((patches * config["downsample_ratio"]) ** 2)
    return ImagePart(edge=edge, size=size, places=tiles * each, markers=2, tiles=tiles)


def _mllama(config: Config, _size: int | None) -> ImagePart:
    """Read by cross attention: one token stands for the image, which always has as many tiles, empty ones with it."""
    edge, _ = _fixed(config, None)
    tiles = int(config["vision_config"]["max_num_tiles"])
    return ImagePart(edge=edge, size=math.isqrt(tiles) * edge, places=0, markers=1, tiles=tiles)


_FAMILIES: dict[str, Callable[[Config, int | None], ImagePart]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_vl,
    "idefics3": _idefics3,
    "smolvlm": _idefics3,
    "paligemma": _paligemma,
    "gemma3": _gemma3,
    "internvl": _internvl,
    "mllama": _mllama,
}


def _said(config: Config, size: int | None) -> int:
    if size is None:
        raise _wrong_size(config, "images at their own size, so that it has to be said")
    return size


def _beside_patches(config: Config) -> int:
    """Positions of LLaVA's encoder before its patches, less the one that the usual strategy leaves out."""
    tower = str(config["vision_config"].get("model_type"))
    if tower not in _TOWERS:
        raise RefusedModel(
            f"How many features the encoder {tower!r} gives is not known here.",
            field="vision_config.model_type",
            hint=f"Encoders of LLaVA that are planned: {', '.join(_TOWERS)}.",
        )
    return _TOWERS[tower] - (1 if config["vision_feature_select_strategy"] == "default" else 0)


def _best_resolution(size: int, resolutions: list[list[int]]) -> tuple[int, int]:
    """Height and width that keep most of a square image, and of those the one with the least padding."""

    def worth(resolution: list[int]) -> tuple[int, int]:
        kept = min(min(resolution) ** 2, size**2)
        return kept, kept - resolution[0] * resolution[1]

    height, width = max(resolutions, key=worth)
    return height, width


def _edge(value: int | list[int]) -> int:
    return int(value[0]) if isinstance(value, list | tuple) else int(value)


def _wrong_size(config: Config, what: str) -> RefusedModel:
    return RefusedModel(
        f"{config['model_type']!r} reads {what}.",
        field="image_size",
        hint="Set training.image_size: the pixels along one edge of an image as the processor reads it.",
    )
