"""What CUDA does below a model, on meta tensors: kernels of attention, autocast, dropout, optimizers, 4-bit weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing import recorder
from tasks.tracing.autocast import is_active, meta_autocast
from tasks.tracing.flop_formulas import op_flops
from tasks.tracing.meta_kernels import Kernels
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tasks.tracing.traced_step import record_step

pytestmark = pytest.mark.torch

LLAMA = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_key_value_heads": 4, "num_local_experts": 4, "num_experts_per_tok": 2}


def _record(config: dict[str, Any] = LLAMA, batch: int = 2, length: int = 64, **options: Any) -> Recording:
    chosen: dict[str, Any] = {"method": MethodChoice(), "precision": "bf16", "task": "causal-lm", **options}
    return record_step(TraceRequest(config=config, **chosen), batch=batch, length=length)


def _column(recording: Recording, name: str) -> int:
    return int(recording.live_bytes[:, LIVE_COLUMNS.index(name)].max())


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({"padded": False}, "flash"),
        ({"padded": True}, "efficient"),
        ({"padded": False, "precision": "fp32"}, "efficient"),
        ({"padded": False, "precision": "bf16-mixed"}, "flash"),
        ({"padded": False, "attention": "math"}, "math"),
        ({"padded": False, "attention": "efficient"}, "efficient"),
        ({"padded": True, "attention": "flash"}, "efficient"),
    ],
)
def test_kernel_of_attention(options: dict[str, Any], kernel: str) -> None:
    assert set(_record(**options).attention) == {kernel}


def test_grouped_heads_without_16_bits_fall_to_math() -> None:
    grouped = {**LLAMA, "num_key_value_heads": 2}
    assert set(_record(grouped, padded=False, precision="fp32").attention) == {"math"}
    assert set(_record(grouped, padded=False).attention) == {"flash"}


def test_eager_attention_calls_no_kernel() -> None:
    assert _record(attention="eager").attention == {}


def test_fused_attention_keeps_less_than_eager() -> None:
    fused, eager = _record(padded=False), _record(padded=False, attention="eager")
    assert _column(fused, "activations") < _column(eager, "activations")


def test_dropout_keeps_one_byte_per_element_on_cuda_and_the_noise_on_cpu() -> None:
    found = {}
    for device in ("cuda", "cpu"):
        values = torch.empty(8, 16, device="meta", requires_grad=True)
        with Kernels(device=device).active():
            dropped = functional.dropout(values, 0.5)
        assert dropped.grad_fn is not None
        found[device] = dropped.grad_fn.name()
    assert found == {"cuda": "NativeDropoutBackward0", "cpu": "MulBackward0"}


def test_autocast_casts_as_cuda_does() -> None:
    weight = torch.nn.Parameter(torch.empty(16, 8, device="meta"))
    copies: list[torch.Tensor] = []
    with meta_autocast(torch.bfloat16, copies.append):
        product = functional.linear(torch.empty(4, 8, device="meta"), weight)
        again = functional.linear(product[:, :8], weight)
        assert product.dtype == again.dtype == torch.bfloat16
        assert torch.softmax(product, -1).dtype == torch.float32
        assert functional.layer_norm(product, (16,)).dtype == torch.float32
        assert functional.gelu(product).dtype == torch.bfloat16
        assert is_active()
    assert not is_active()
    assert [copy.dtype for copy in copies] == [torch.bfloat16]
    assert functional.linear(torch.empty(4, 8, device="meta"), weight).dtype == torch.float32


@pytest.mark.parametrize("checkpointing", [False, True])
def test_mixed_precision_multiplies_in_16_bits_in_both_passes(checkpointing: bool) -> None:
    recording = _record(precision="bf16-mixed", gradient_checkpointing=checkpointing)
    types = {
        dtype
        for kind, dtype, flops in zip(recording.kinds, recording.dtypes, recording.flops, strict=True)
        if kind in ("matmul", "attention") and flops > 10_000
    }
    assert types == {"bfloat16"}
    assert _column(recording, "weight_copies") > 0


def test_chunked_loss_runs_under_autocast_and_keeps_no_logits() -> None:
    plain, chunked = (_record(precision="bf16-mixed", loss=loss, length=2048) for loss in ("plain", "chunked"))
    assert _column(chunked, "loss_chain") < _column(plain, "loss_chain") / 2
    assert not any(
        kind == "matmul" and dtype == "float32" and flops > 100_000
        for kind, dtype, flops in zip(chunked.kinds, chunked.dtypes, chunked.flops, strict=True)
    )


def test_checkpointing_stashes_the_inputs_of_layers() -> None:
    plain, checkpointed = (_record(gradient_checkpointing=on, padded=False) for on in (False, True))
    assert _column(plain, "checkpoint_stash") == 0
    assert _column(checkpointed, "checkpoint_stash") == 2 * checkpointed.layer_input_bytes
    assert checkpointed.layer_input_bytes == 2 * 64 * 64 * 2
    assert checkpointed.peak_bytes() < plain.peak_bytes()
    assert checkpointed.flops.sum() > plain.flops.sum()


def test_accumulating_starts_with_gradients() -> None:
    request = TraceRequest(config=LLAMA, task="causal-lm", method=MethodChoice(), precision="bf16")
    first, later = (record_step(request, batch=2, length=64, accumulate=later) for later in (False, True))
    gradients = LIVE_COLUMNS.index("gradients")
    assert first.live_bytes[0, gradients] == 0
    assert later.live_bytes[0, gradients] >= later.trainable.bytes


def test_state_of_optimizers_follows_from_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 1)
    state = {name: _record(optimizer=name) for name in ("adamw", "adamw-8bit", "sgd", "sgd-momentum")}
    sums = state["adamw"].trainable
    assert state["adamw"].optimizer_state_bytes == pytest.approx(2 * sums.bytes, rel=0.02)
    assert state["sgd-momentum"].optimizer_state_bytes == pytest.approx(sums.bytes, rel=0.02)
    assert state["sgd"].optimizer_state_bytes == 0
    small = sums.elements - sums.elements_large
    expected = 2 * sums.elements_large + 8 * sums.blocks_large + 8 * small + 2 * 1024
    assert state["adamw-8bit"].optimizer_state_bytes == pytest.approx(expected, rel=0.02)


def test_weights_in_4_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 1)
    lora, qlora = (_record(method=MethodChoice(kind=kind)) for kind in ("lora", "qlora"))
    assert qlora.parameters == lora.parameters
    assert qlora.trainable_parameters == lora.trainable_parameters
    quantized = 2 * (4 * 64 * 64 + 3 * 64 * 128)
    # Half a byte each, one for the scale of 64 and four for 256 scales, against two; and tables of 272 floats a layer.
    expected = lora.weights_bytes - quantized * (2 - 0.5 - 1 / 64 - 4 / 256 / 64) + 2 * 7 * 272 * 4
    assert qlora.weights_bytes == pytest.approx(expected, rel=0.001)
    assert "unpack_nf4" in qlora.names


def test_autocast_leaves_products_of_experts_in_the_weights_type() -> None:
    recording = _record(MIXTRAL, precision="bf16-mixed")
    types = {dtype for name, dtype in zip(recording.names, recording.dtypes, strict=True) if name == "_grouped_mm"}
    assert types == {"float32"}


@pytest.mark.parametrize("precision", ["bf16", "fp32", "bf16-mixed"])
def test_experts_count_the_products_of_the_tokens_that_they_get(precision: str) -> None:
    recording = _record(MIXTRAL, precision=precision)
    forward = [
        flops
        for name, phase, flops in zip(recording.names, recording.phases, recording.flops, strict=True)
        if name == "_grouped_mm" and phase == "forward"
    ]
    tokens, layers, experts_per_token, products = 2 * 64, 2, 2, 3
    assert sum(forward) == 2 * tokens * layers * experts_per_token * products * 64 * 128
    assert any("routing" in note for note in recording.notes)


def test_backward_of_grouped_convolution_is_twice_its_forward() -> None:
    inputs, weight = torch.empty(2, 8, 16, 16, device="meta"), torch.empty(12, 2, 3, 3, device="meta")
    settings: tuple[Any, ...] = ([1, 1], [1, 1], [1, 1], False, [0, 0], 4)
    aten = torch.ops.aten
    out = aten.convolution.default(inputs, weight, None, *settings)
    forward = op_flops(aten.convolution.default, (inputs, weight, None, *settings), {}, out)
    backward_args = (out, inputs, weight, None, *settings, [True, True, False])
    grads = aten.convolution_backward.default(*backward_args)
    assert forward == 2 * out.numel() * 2 * 9
    assert op_flops(aten.convolution_backward.default, backward_args, {}, grads) == 2 * forward
