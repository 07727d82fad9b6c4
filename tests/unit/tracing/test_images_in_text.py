"""Vision-language models: the traced step against the same step on the CPU, and what one image adds to a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest, evaluate
from tasks.tracing import recorder
from tasks.tracing.batches import new_batch
from tasks.tracing.fit import trace_step
from tasks.tracing.images_in_text import image_part
from tasks.tracing.models import read_config
from tasks.tracing.prepared import prepare
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.traced_step import record_step
from tests.support.cpu_oracle import observe
from tests.support.tiny_pictured import ANY_SIZE, TINY_PICTURED
from tests.support.trace_sums import training_flops

pytestmark = [
    pytest.mark.torch,
    # Of Mllama's encoder by its own layers.
    pytest.mark.filterwarnings("ignore:.hidden_state. is deprecated:FutureWarning"),
]

BATCH, LENGTH = 3, 40


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Convolutions of a CPU take a workspace per thread, which is no part of the step."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's allocator takes what is asked for, CUDA's rounds up."""
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 1)


def _request(name: str, *, size: int | None = None, method: str = "full", **options: Any) -> TraceRequest:
    config = TINY_PICTURED[name]
    known = size or (64 if name in ANY_SIZE else None)
    chosen: dict[str, Any] = {"precision": "fp32", "kernels": "cpu", **options}
    return TraceRequest(
        config=config,
        task="image-text-to-text",
        method=MethodChoice(kind=method, lora_rank=8),
        image_size=known,
        **chosen,
    )


def _check(request: TraceRequest) -> None:
    traced = record_step(request, batch=BATCH, length=LENGTH)
    real = observe(request, batch=BATCH, length=LENGTH)
    peak, flops = _peak_and_flops(traced)
    inputs = LIVE_COLUMNS.index("inputs")
    assert peak - traced.live_bytes[0, inputs] == pytest.approx(real.peak_bytes, rel=0.01)
    assert flops == real.flops


def _peak_and_flops(recording: Recording) -> tuple[int, int]:
    is_training = np.array([phase != "evaluation" for phase in recording.phases])
    return int(recording.live_bytes.sum(axis=1)[is_training].max()), int(recording.flops[is_training].sum())


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize("attention", ["auto", "eager"])
@pytest.mark.parametrize("name", TINY_PICTURED)
def test_peak_and_operations_are_those_of_the_step(name: str, attention: str) -> None:
    _check(_request(name, attention=attention))


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize("name", ANY_SIZE)
def test_larger_images_are_those_of_the_step(name: str) -> None:
    """Tiles, and windows of three sizes."""
    _check(_request(name, size=144))


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize("method", ["lora", "frozen"])
@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "smolvlm"])
def test_each_method_is_that_of_the_step(name: str, method: str) -> None:
    _check(_request(name, method=method))


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"precision": "bf16"}])
@pytest.mark.parametrize("name", ["llava_next", "qwen2_5_vl"])
def test_each_way_to_train_is_that_of_the_step(name: str, options: dict[str, Any]) -> None:
    _check(_request(name, **options))


@pytest.mark.parametrize("method", ["full", "qlora"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "mllama"])
def test_any_batch_and_length_follow_from_few(name: str, method: str) -> None:
    request = _request(name, method=method, precision="bf16", kernels="cuda")
    trace = trace_step(request, config=read_config(request).to_dict(), record=record_step)
    # As long as a multiple of what masks are padded to.
    length = 160 - _tokens(TINY_PICTURED[name], request.image_size)
    peak, flops = _peak_and_flops(record_step(request, batch=6, length=length))
    moments = [point.lines.values() for point in trace.memory if point.phase != "evaluation"]
    highest = max(sum(evaluate(line, batch=6, length=length) for line in lines) for lines in moments)
    assert highest == pytest.approx(peak, rel=1e-3)
    assert training_flops(trace, batch=6, length=length) == pytest.approx(flops, rel=1e-9)
    assert any("a sample adds" in note for note in trace.notes)
    assert trace.image_tokens == _tokens(TINY_PICTURED[name], request.image_size)


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_encoder_keeps_no_state_where_only_text_is_read(method: str) -> None:
    request = TraceRequest(
        config=TINY_PICTURED["gemma3"],
        task="causal-lm",
        method=MethodChoice(kind=method, lora_rank=8),
        precision="fp32",
        kernels="cpu",
    )
    traced = record_step(request, batch=BATCH, length=LENGTH)
    prepared = prepare(request, layers=None, device="cpu")
    for name, parameter in prepared.tuned.model.named_parameters():
        parameter.requires_grad_(method == "full" or "lora_" in name)
    given = new_batch(request, prepared.config, batch=BATCH, length=LENGTH, dtype=torch.float32, device="cpu")
    logits = prepared.tuned.model(**given.inputs).logits
    logits.sum().backward()
    learnt = sum(part.numel() for part in prepared.tuned.model.parameters() if part.grad is not None)
    assert traced.trainable_parameters == learnt
    assert any(part.grad is None for part in prepared.tuned.model.parameters() if part.dim() > 1)


def test_frozen_model_learns_its_connector() -> None:
    traced = record_step(_request("llava", method="frozen"), batch=BATCH, length=LENGTH)
    assert traced.trainable_parameters == (48 * 64 + 64) + (64 * 64 + 64)


def _tokens(config: dict[str, Any], size: int | None) -> int:
    request = TraceRequest(
        config=config, task="image-text-to-text", method=MethodChoice(), precision="bf16", image_size=size
    )
    return image_part(request, read_config(request).to_dict()).tokens


_OF_336 = {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}
_LONG = {"max_position_embeddings": 32_768}
_SMOLVLM = {
    "model_type": "idefics3",
    "scale_factor": 4,
    "vision_config": {"image_size": 512, "patch_size": 16},
    "text_config": {"model_type": "llama", "vocab_size": 49_280, "max_position_embeddings": 8_192},
}
_SMOLVLM_2B = {
    "model_type": "idefics3",
    "scale_factor": 3,
    "vision_config": {"image_size": 384, "patch_size": 14},
    "text_config": {"model_type": "llama", "vocab_size": 49_155, "max_position_embeddings": 16_384},
}


@pytest.mark.parametrize(
    ("config", "size", "tokens"),
    [
        ({"model_type": "llava", "vision_config": _OF_336}, None, 576),
        # A table of 2 x 2 tiles with an end to each of 48 rows, and the image made small: 2,352 + 576.
        ({"model_type": "llava_next", "vision_config": _OF_336, "text_config": {**_LONG}}, 672, 2_928),
        ({"model_type": "qwen2_vl"}, 448, 256 + 2),
        ({"model_type": "qwen2_vl"}, 450, 256 + 2),
        ({"model_type": "qwen2_5_vl"}, 1_036, 1_369 + 2),
        # 64 a tile; four rows of four, each tile with two marks and each row with an end, and the image made small.
        (_SMOLVLM, None, 4 * (4 * (64 + 2) + 1) + 67),
        (_SMOLVLM, 512, 1_127),
        # Tiles of 81 whose marks are written in nine pieces, and one of five.
        (_SMOLVLM_2B, None, 4 * (4 * (81 + 10) + 1) + 81 + 2 + 5),
        ({"model_type": "paligemma", "vision_config": {"image_size": 448, "patch_size": 14}}, None, 1_024),
        ({"model_type": "gemma3", "vision_config": {"image_size": 896, "patch_size": 14}}, None, 256 + 4),
        ({"model_type": "llava", "vision_config": _OF_336}, 224, 576),
        ({"model_type": "internvl"}, 448, 256 + 2),
        # Four tiles cover less than twice its pixels; nine are the most that make a square.
        ({"model_type": "internvl"}, 640, 5 * 256 + 2),
        ({"model_type": "internvl"}, 4_096, 10 * 256 + 2),
        ({"model_type": "mllama"}, None, 1),
    ],
)
def test_tokens_of_an_image_are_those_of_the_processor(config: dict[str, Any], size: int | None, tokens: int) -> None:
    assert _tokens(config, size) == tokens


@pytest.mark.parametrize(
    ("config", "size", "field"),
    [
        ({"model_type": "mistral3"}, None, "model_type"),
        ({"model_type": "qwen2_vl"}, None, "image_size"),
        ({"model_type": "internvl"}, None, "image_size"),
        ({"model_type": "llava", "vision_config": {"model_type": "pixtral"}}, None, "vision_config.model_type"),
        ({"model_type": "qwen2_vl", "text_config": {"max_position_embeddings": 256}}, 448, "image_size"),
    ],
)
def test_what_is_not_known_is_refused_by_field(config: dict[str, Any], size: int | None, field: str) -> None:
    with pytest.raises(RefusedModel) as refused:
        _tokens(config, size)
    assert refused.value.field == field
    assert refused.value.hint


def test_more_places_than_features_are_refused() -> None:
    """Five tokens an image are no square, and the model makes two by two of them."""
    request = _request("gemma3")
    request.config["mm_tokens_per_image"], before = 5, request.config["mm_tokens_per_image"]
    try:
        with pytest.raises(RefusedModel, match="features of its images") as refused:
            record_step(request, batch=BATCH, length=LENGTH)
    finally:
        request.config["mm_tokens_per_image"] = before
    assert refused.value.field == "vision_config"
