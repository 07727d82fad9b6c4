"""What other programs do around a model, and what cuDNN takes: each holds the bytes that its code holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing.meta_kernels import workspace_bytes
from tasks.tracing.recording import Recording
from tasks.tracing.traced_step import record_step

pytestmark = pytest.mark.torch

BATCH, LENGTH = 2, 64
TOKENS = BATCH * LENGTH
LAYERS, HIDDEN, HEADS, VOCABULARY = 2, 64, 4, 8192
BIGCODE: dict[str, Any] = {
    "model_type": "gpt_bigcode",
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": 256,
    "vocab_size": VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "vocab_size": VOCABULARY,
}


def recorded(config: dict[str, Any], *deviations: str, kind: str = "full", is_upcast: bool = True) -> Recording:
    method = MethodChoice(kind=kind, lora_rank=4, lora_alpha=8, lora_targets="all-linear") if kind != "full" else None
    return record_step(
        TraceRequest(
            config=config,
            task="causal-lm",
            method=method or MethodChoice(kind="full"),
            precision="bf16",
            optimizer="sgd",
            gradient_checkpointing=True,
            padded=False,
            upcast_logits=is_upcast,
            deviations=deviations,
        ),
        batch=BATCH,
        length=LENGTH,
    )


def peak(recording: Recording, phase: str) -> int:
    total = recording.live_bytes.sum(axis=1)
    return int(max(total[at] for at, name in enumerate(recording.phases) if name == phase))


def test_a_copied_loss_holds_the_logits_once_more_in_the_forward_pass() -> None:
    plain, copied = (recorded(LLAMA, *names) for names in ((), ("logits-copied",)))
    assert peak(copied, "forward") - peak(plain, "forward") == pytest.approx(2 * TOKENS * VOCABULARY, rel=0.3)


def test_a_kept_cache_holds_all_that_it_is_a_part_of() -> None:
    copied = recorded(BIGCODE, "logits-copied", is_upcast=False)
    kept = recorded(BIGCODE, "logits-copied", "cache-kept", is_upcast=False)
    # Query, key and value of one head come from one product.
    width = HIDDEN + 2 * HIDDEN // HEADS
    assert peak(kept, "forward") - peak(copied, "forward") == 2 * LAYERS * TOKENS * width


def test_layers_in_4_bits_under_autocast_return_what_their_norms_do() -> None:
    plain, autocast = (recorded(BIGCODE, *names, kind="qlora") for names in ((), ("half-weights-in-autocast",)))
    assert autocast.layer_input_bytes == 2 * plain.layer_input_bytes == 4 * TOKENS * HIDDEN


def test_norms_in_float32_widen_what_layers_hand_on() -> None:
    narrow = recorded(LLAMA, "half-weights-in-autocast", kind="qlora")
    wide = recorded(LLAMA, "half-weights-in-autocast", "norms-in-float32", kind="qlora")
    assert wide.layer_input_bytes == 2 * narrow.layer_input_bytes == 4 * TOKENS * HIDDEN


@pytest.mark.parametrize(("groups", "copies"), [(1, 0), (4, 1), (8, 0)])
def test_grouped_convolutions_copy_what_they_read_and_write(groups: int, copies: int) -> None:
    images = torch.empty(2, 8, 6, 6, dtype=torch.float16, device="meta")
    weight = torch.empty(16, 8 // groups, 3, 3, dtype=torch.float16, device="meta")
    rest = ([2, 2], [1, 1], [1, 1], False, [0, 0], groups)
    read, written = 2 * images.numel(), 2 * 2 * 16 * 3 * 3
    assert workspace_bytes("convolution", (images, weight, None, *rest)) == copies * (read + written)
    gradient = torch.empty(2, 16, 3, 3, dtype=torch.float16, device="meta")
    backward = workspace_bytes("convolution_backward", (gradient, images, weight, None, *rest))
    assert backward == copies * (2 * read + written)


def test_sgd_without_decay_updates_without_a_copy_of_the_gradients() -> None:
    decayed, plain = (recorded(LLAMA, *names) for names in ((), ("weights-not-decayed",)))
    matrices = plain.trainable.matrix_elements
    assert peak(decayed, "update") - peak(plain, "update") == pytest.approx(2 * matrices, rel=0.01)
