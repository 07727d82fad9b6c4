"""What one image adds to a sample against the arithmetic of the processors of transformers; odd configs by field."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing.images_in_text import ImagePart, image_notes, image_part
from tasks.tracing.models import read_config
from tasks.tracing.refusal import RefusedModel
from tests.support.tiny_pictured import TINY_PICTURED

pytestmark = pytest.mark.torch

SIZES = (64, 100, 224, 336, 365, 448, 500, 641, 672, 900, 1_008, 1_500, 2_048, 3_000, 4_096)
ONE_SIZE = ("llava", "idefics3", "smolvlm", "paligemma", "gemma3", "mllama")


def _request(config: dict[str, Any], size: int | None) -> TraceRequest:
    return TraceRequest(
        config=config, task="image-text-to-text", method=MethodChoice(), precision="bf16", image_size=size
    )


def _image(config: dict[str, Any], size: int | None) -> ImagePart:
    request = _request(config, size)
    return image_part(request, read_config(request).to_dict())


def _notes(config: dict[str, Any], size: int | None) -> str:
    request = _request(config, size)
    return " ".join(image_notes(request, read_config(request).to_dict()))


def _tiled(edge: int, patch: int, scale: int, *, vocabulary: int = 49_280) -> dict[str, Any]:
    text = {"model_type": "llama", "vocab_size": vocabulary, "max_position_embeddings": 16_384}
    vision = {"image_size": edge, "patch_size": patch}
    return {"model_type": "idefics3", "scale_factor": scale, "vision_config": vision, "text_config": text}


@pytest.mark.parametrize(("edge", "patch", "scale"), [(512, 16, 4), (384, 14, 3), (364, 14, 2)])
def test_tiles_of_idefics_3_are_its_processors(edge: int, patch: int, scale: int) -> None:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    processor: Any = Idefics3Processor.__new__(Idefics3Processor)
    processor.image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 4 * edge}, max_image_size={"longest_edge": edge}
    )
    processor.image_seq_len = int((edge // patch) ** 2 / scale**2)
    # As the tokenizers of these models do, which have one token for an empty line.
    processor.tokenizer = lambda *_, **__: {"input_ids": [0]}
    counted = processor._get_num_multimodal_tokens(image_sizes=[[size, size] for size in SIZES])
    for size, tokens, tiles in zip(SIZES, counted.num_image_tokens, counted.num_image_patches, strict=True):
        image = _image(_tiled(edge, patch, scale), size)
        assert (image.tokens, image.tiles) == (tokens, tiles)
    assert _image(_tiled(edge, patch, scale), None).tokens == counted.num_image_tokens[0]


def test_tiles_of_internvl_are_its_processors() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(
        size={"height": 448, "width": 448}, crop_to_patches=True, min_patches=1, max_patches=12
    )
    for size in SIZES:
        image = _image({"model_type": "internvl"}, size)
        assert image.tiles == processor.get_number_of_image_patches(size, size)
        assert image.places == 256 * image.tiles


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_places_of_qwen_are_its_processors(kind: str) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2)
    bounds = {"min_pixels": 56 * 56, "max_pixels": 16_384 * 28 * 28}
    for size in (20, 40, 55, *SIZES):
        patches = processor.get_number_of_image_patches(size, size, bounds)
        image = _image({"model_type": kind, "text_config": {"max_position_embeddings": 128_000}}, size)
        assert (image.grid**2, image.places) == (patches, patches // 4)


def test_places_of_llava_next_are_its_processors() -> None:
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

    config = {
        "model_type": "llava_next",
        "vision_config": {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14},
        "text_config": {"max_position_embeddings": 32_768},
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    }
    processor: Any = LlavaNextProcessor.__new__(LlavaNextProcessor)
    processor.image_processor = SimpleNamespace(
        image_grid_pinpoints=config["image_grid_pinpoints"], size={"shortest_edge": 336}
    )
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.vision_feature_select_strategy = "default"
    counted = processor._get_num_multimodal_tokens(image_sizes=[[size, size] for size in SIZES])
    assert [_image(config, size).tokens for size in SIZES] == counted.num_image_tokens


@pytest.mark.parametrize("kind", ["llava", "paligemma", "gemma3"])
def test_one_picture_of_its_own_size_is_made_of_any(kind: str) -> None:
    """These processors resize each image to what the encoder reads; their arithmetic has no size of an image."""
    images = {
        (image.edge, image.tokens, image.tiles) for size in SIZES for image in [_image(TINY_PICTURED[kind], size)]
    }
    assert images == {(64, _image(TINY_PICTURED[kind], None).tokens, 1)}


@pytest.mark.parametrize("kind", ONE_SIZE)
def test_a_size_without_effect_is_said(kind: str) -> None:
    said = _notes(TINY_PICTURED[kind], None)
    assert "image of any size" in said
    # The tiles of these follow the shape of the image.
    assert ("square image" in said) == ("fewer tiles" in said) == (kind in ("idefics3", "smolvlm"))
    assert "(500) changes nothing" in _notes(TINY_PICTURED[kind], 500)
    assert "changes nothing" not in _notes(TINY_PICTURED[kind], None)


@pytest.mark.parametrize("vocabulary", [49_155, 128_259])
def test_marks_without_tokens_are_counted_in_pieces(vocabulary: int) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    cut = ByteLevel(add_prefix_space=False, use_regex=True)
    own, none = (_image(_tiled(384, 14, 3, vocabulary=size), None) for size in (49_280, vocabulary))
    of_tile, of_whole = (len(cut.pre_tokenize_str(mark)) for mark in ("<row_1_col_4>", "<global-img>"))
    assert none.markers - own.markers == 16 * (of_tile - 1) + of_whole - 1
    assert f"{vocabulary:,} tokens has none for the marks" in _notes(_tiled(384, 14, 3, vocabulary=vocabulary), None)
    assert "marks" not in _notes(_tiled(384, 14, 3), None)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("llava", "vision_config.patch_size", 0),
        ("llava", "vision_config.patch_size", -16),
        ("llava", "vision_config.patch_size", 65),
        ("llava", "vision_config.image_size", "64"),
        ("llava", "vision_config.image_size", True),
        ("llava", "vision_config.image_size", None),
        ("qwen2_vl", "vision_config.patch_size", 0),
        ("qwen2_vl", "vision_config.spatial_merge_size", 0),
        ("qwen2_5_vl", "vision_config.patch_size", None),
        ("qwen2_vl", "vision_config.in_channels", 0),
        ("qwen2_5_vl", "vision_config.temporal_patch_size", 0),
        ("qwen2_5_vl", "vision_config.window_size", -5),
        ("qwen2_5_vl", "vision_config.window_size", 3),
        ("llava", "vision_config.num_channels", 0),
        ("llava_next", "image_grid_pinpoints", []),
        ("llava_next", "image_grid_pinpoints", [[64]]),
        ("llava_next", "image_grid_pinpoints", [[64, 0]]),
        ("llava_next", "image_grid_pinpoints", [[64, 100]]),
        ("idefics3", "scale_factor", 0),
        ("idefics3", "scale_factor", 3),
        ("smolvlm", "scale_factor", None),
        ("gemma3", "mm_tokens_per_image", None),
        ("gemma3", "mm_tokens_per_image", 0),
        ("gemma3", "mm_tokens_per_image", 64),
        ("internvl", "vision_config.image_size", [0, 0]),
        ("internvl", "vision_config.image_size", [64, 32]),
        ("internvl", "vision_config.image_size", []),
        ("internvl", "downsample_ratio", 0.0),
        ("internvl", "downsample_ratio", 0.3),
        ("mllama", "vision_config.max_num_tiles", 0),
    ],
)
def test_dimensions_that_are_none_are_refused_by_field(kind: str, field: str, value: object) -> None:
    _check_refused(kind, field, value, named=field)


def test_an_encoder_without_patches_or_features_is_refused() -> None:
    _check_refused("llava", "vision_config.image_size", 8, named="vision_config.patch_size")
    # One patch, which the strategy of LLaVA leaves out where there is no class token before it.
    strategy = {"vision_feature_select_strategy": "default"}
    _check_refused(
        "llava, another encoder", "vision_config.patch_size", 64, named="vision_config.patch_size", **strategy
    )


def _check_refused(kind: str, field: str, value: object, *, named: str, **changes: object) -> None:
    complete = copy.deepcopy(read_config(_request(TINY_PICTURED[kind], 64)).to_dict()) | changes
    *parts, last = field.split(".")
    (complete[parts[0]] if parts else complete)[last] = value
    with pytest.raises(RefusedModel) as refused:
        image_part(_request({}, 64), complete)
    assert refused.value.field == named
    assert named in str(refused.value)
    assert refused.value.hint
