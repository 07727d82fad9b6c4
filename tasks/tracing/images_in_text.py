"""What one square image of a sample becomes for each family of vision-language models, by their processors' arithmetic.

Owns numbers only: patches, tiles, places in the sequence; reads a config as a mapping. One image a sample;
training.image_size is the edge of the image that the processor is given, for every family: where the processor brings
any image to one size it has no bearing, and a note says so; where it does not, the size has to be said. Families are
those whose processors are written down here (transformers 5.17, `models/*/processing_*.py` and
`image_processing_*.py`); others are refused by their model_type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tasks.step_trace import TraceRequest
from tasks.tracing.dimensions import Config, grid, share, value_of, whole, wrong
from tasks.tracing.equal_images import ONE_BY_ONE
from tasks.tracing.refusal import RefusedModel

_TOWERS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Encoders of LLaVA with the positions that they put before the patches."""
_TILES_ALONG = 4
"""Of Idefics 3 and SmolVLM: their processors bring the longest edge of each image to as many tiles."""
_LONGEST_EDGE = 4096
"""Pixels to which they bring it at most (`MAX_IMAGE_SIZE`)."""
_BARE_VOCABULARIES = (49_152, 128_256)
"""Of SmolLM 2 and Llama 3, to which Idefics 3 and SmolVLM add tokens: with less than _MARKS of them, the marks of tiles
are not among these and are written in pieces (49,155 of SmolVLM-Instruct, 128,259 of Idefics3-8B-Llama3)."""
_MARKS = 37
"""`<row_1_col_1>` to `<row_6_col_6>` and `<global-img>`."""
_PIECES_OF_TILE, _PIECES_OF_WHOLE = 9, 5
"""Of those, cut where byte-level BPE cuts: letters, digits and signs apart."""
_LEAST_PIXELS, _MOST_PIXELS = 3_136, 12_845_056
"""Of an image that Qwen2-VL and Qwen2.5-VL read: min_pixels and max_pixels in their preprocessor_config.json."""
_MOST_TILES = 12
"""Of InternVL."""
_LEAST_TEXT = 24
"""Tokens: three lengths at which a step is recorded."""


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
    """Pixels along one edge of the image that the processor is given, or of what it makes of any."""
    is_any_size: bool = False
    """Whether the processor makes the same of images of any size."""
    is_cut_by_shape: bool = False
    """Whether that holds for square images alone: of others, the longest edge has as many tiles, the other fewer."""
    grid: int = 0
    """Patches along one edge, for encoders that take patches of all images in one row; else 0."""
    marks_in_pieces: bool = False
    """Whether the vocabulary has no tokens for the marks of tiles."""

    @property
    def tokens(self) -> int:
        """What the image adds to the tokens of the text."""
        return self.places + self.markers


def image_part(request: TraceRequest, config: Config) -> ImagePart:
    """The image of a sample.

    Args:
        request: whose image_size counts where the processor does not bring each image to one size.
        config: complete, with the defaults of its model type.

    Raises:
        RefusedModel: a family that is not known, a dimension that is none, or an image that leaves no room for text.
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
    positions = value_of(config, "text_config.max_position_embeddings")
    if isinstance(positions, int) and image.tokens + _LEAST_TEXT > positions:
        field = "text_config.max_position_embeddings" if image.is_any_size else "image_size"
        told = (
            f"{field} of config.json" if image.is_any_size else "training.image_size, or how many positions there are"
        )
        raise RefusedModel(
            f"An image of {image.size} x {image.size} pixels takes {image.tokens:,} of {positions:,} positions and "
            "leaves none for a text.",
            field=field,
            hint=f"Change {told}.",
        )
    return image


def image_notes(request: TraceRequest, config: Config) -> list[str]:
    """What a trace takes for granted about images, for people."""
    image = image_part(request, config)
    size, tokens = f"{image.size} x {image.size} pixels", f"{image.tokens:,} token{'' if image.tokens == 1 else 's'}"
    shape = "square image" if image.is_cut_by_shape else "image"
    given = f"{shape} of any size, which the processor makes {size}," if image.is_any_size else f"image of {size}"
    notes = [f"One {given} a sample adds {tokens} to those of its text."]
    if image.is_cut_by_shape:
        notes.append("Wider or higher images are cut into fewer tiles and add fewer tokens.")
    if image.is_any_size and request.image_size not in (None, image.size):
        notes.append(f"training.image_size ({request.image_size}) changes nothing for {config['model_type']}.")
    if image.marks_in_pieces:
        vocabulary = value_of(config, "text_config.vocab_size")
        notes.append(
            f"A vocabulary of {vocabulary:,} tokens has none for the marks of tiles, which are taken as "
            f"{_PIECES_OF_TILE} tokens each and {_PIECES_OF_WHOLE} for the whole image, by the rule of byte-level BPE."
        )
    if config["model_type"] not in ONE_BY_ONE:
        return notes
    at_once = "Its images are taken at once where the model takes one after the other"
    if request.attention == "eager":
        at_once += ", so that memory is an upper bound"
    return [*notes, at_once + "."]


def _patched(config: Config) -> tuple[int, int]:
    """Edge and patches along it, of encoders with one table of positions."""
    edge, patch = whole(config, "vision_config.image_size"), whole(config, "vision_config.patch_size")
    if value_of(config, "vision_config.num_channels") is not None:
        whole(config, "vision_config.num_channels")
    if patch > edge:
        raise wrong("vision_config.patch_size", patch, f"an image of {edge} pixels along one edge has no such patch")
    return edge, edge // patch


def _llava(config: Config, _size: int | None) -> ImagePart:
    edge, patches = _patched(config)
    places = patches**2 + _beside_patches(config)
    if places < 1:
        patch = value_of(config, "vision_config.patch_size")
        raise wrong("vision_config.patch_size", patch, f"it leaves no feature of an image of {edge} pixels")
    return _one_picture(edge, places=places)


def _llava_next(config: Config, size: int | None) -> ImagePart:
    """Tiles of the resolution that fits best, with one place more at the end of each row, and the whole image."""
    edge, patches = _patched(config)
    resolutions = grid(config, "image_grid_pinpoints", unit=edge)
    size = _said(config, size)
    height, width = _best_resolution(size, resolutions)
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
    """Of as many pixels as it has, rounded to whole places, within bounds (`smart_resize`)."""
    merged, patch = whole(config, "vision_config.spatial_merge_size"), whole(config, "vision_config.patch_size")
    for field in ("vision_config.in_channels", "vision_config.temporal_patch_size"):
        whole(config, field)
    size = _said(config, size)
    factor = patch * merged
    if value_of(config, "vision_config.window_size") is not None:
        window = whole(config, "vision_config.window_size")
        if window < factor:
            raise wrong("vision_config.window_size", window, f"a window has no place of {factor} pixels")
    edge = round(size / factor) * factor
    if edge**2 > _MOST_PIXELS:
        edge = max(factor, math.floor(size / math.sqrt(size**2 / _MOST_PIXELS) / factor) * factor)
    elif edge**2 < _LEAST_PIXELS:
        edge = math.ceil(size * math.sqrt(_LEAST_PIXELS / size**2) / factor) * factor
    # Two marks: where vision starts and ends.
    return ImagePart(edge=edge, size=size, places=(edge // factor) ** 2, markers=2, grid=edge // patch)


def _idefics3(config: Config, _size: int | None) -> ImagePart:
    """A square of tiles, each with two marks, a line's end after each row, and the image made small with three."""
    edge, patches = _patched(config)
    scale = whole(config, "scale_factor")
    if patches % scale:
        raise wrong("scale_factor", scale, f"it has to divide the {patches} patches along one edge")
    along = -(-min(_TILES_ALONG * edge, _LONGEST_EDGE) // edge)
    tiles = along**2 if along > 1 else 0
    vocabulary = value_of(config, "text_config.vocab_size")
    in_pieces = isinstance(vocabulary, int) and any(0 <= vocabulary - own < _MARKS for own in _BARE_VOCABULARIES)
    of_tile, of_whole = (_PIECES_OF_TILE, _PIECES_OF_WHOLE) if in_pieces else (1, 1)
    return ImagePart(
        edge=edge,
        size=along * edge,
        is_any_size=True,
        is_cut_by_shape=tiles > 0,
        places=(tiles + 1) * (patches // scale) ** 2,
        markers=tiles * (1 + of_tile) + (along if tiles else 0) + 2 + of_whole,
        tiles=tiles + 1,
        marks_in_pieces=in_pieces,
    )


def _paligemma(config: Config, _size: int | None) -> ImagePart:
    edge, patches = _patched(config)
    return _one_picture(edge, places=patches**2)


def _gemma3(config: Config, _size: int | None) -> ImagePart:
    edge, patches = _patched(config)
    places = whole(config, "mm_tokens_per_image")
    if places > patches**2:
        raise wrong("mm_tokens_per_image", places, f"an image has {patches**2:,} patches, which are pooled")
    # Start and end of the image, and an empty line before and after.
    return _one_picture(edge, places=places, markers=4)


def _internvl(config: Config, size: int | None) -> ImagePart:
    """As many tiles as cover no more than twice the image, and the image made small."""
    edge, patches = _patched(config)
    ratio = share(config, "downsample_ratio")
    if not (patches * ratio).is_integer():
        raise wrong("downsample_ratio", ratio, f"it has to make a whole number of {patches} patches")
    size = _said(config, size)
    along = max(n for n in range(1, math.isqrt(_MOST_TILES) + 1) if n == 1 or 2 * size**2 > (n * edge) ** 2)
    tiles = along**2 + 1 if along > 1 else 1
    return ImagePart(edge=edge, size=size, places=tiles * int(patches * ratio) ** 2, markers=2, tiles=tiles)


def _mllama(config: Config, _size: int | None) -> ImagePart:
    """Read by cross attention: one token stands for the image, which always has as many tiles, empty ones with it."""
    edge, _ = _patched(config)
    tiles = whole(config, "vision_config.max_num_tiles")
    return ImagePart(edge=edge, size=math.isqrt(tiles) * edge, is_any_size=True, places=0, markers=1, tiles=tiles)


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


def _one_picture(edge: int, *, places: int, markers: int = 0) -> ImagePart:
    return ImagePart(edge=edge, size=edge, is_any_size=True, places=places, markers=markers)


def _said(config: Config, size: int | None) -> int:
    if size is None:
        raise RefusedModel(
            f"{config['model_type']!r} reads images at their own size, so that it has to be said.",
            field="image_size",
            hint="Set training.image_size: the pixels along one edge of an image of yours.",
        )
    return size


def _beside_patches(config: Config) -> int:
    """Positions of LLaVA's encoder before its patches, less the one that the usual strategy leaves out."""
    tower = str(value_of(config, "vision_config.model_type"))
    if tower not in _TOWERS:
        raise RefusedModel(
            f"How many features the encoder {tower!r} gives is not known here.",
            field="vision_config.model_type",
            hint=f"Encoders of LLaVA that are planned: {', '.join(_TOWERS)}.",
        )
    return _TOWERS[tower] - (1 if config["vision_feature_select_strategy"] == "default" else 0)


def _best_resolution(size: int, resolutions: list[tuple[int, int]]) -> tuple[int, int]:
    """Height and width that keep most of a square image, and of those the one with the least padding."""

    def worth(resolution: tuple[int, int]) -> tuple[int, int]:
        kept = min(min(resolution) ** 2, size**2)
        return kept, kept - resolution[0] * resolution[1]

    height, width = max(resolutions, key=worth)
    return height, width
