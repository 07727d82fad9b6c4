"""The chunked loss is the plain one, to its gradients, and never holds all logits."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tasks.losses import IGNORED, causal_lm_loss_sum, causal_loss_sum, has_linear_head, next_tokens, token_loss_sum

pytestmark = pytest.mark.torch

VOCABULARY = 50
HIDDEN = 16


def inputs_of(batch: int = 3, length: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, weight and bias of the head, targets of which some are ignored."""
    generator = torch.Generator().manual_seed(1)
    hidden_BTH = torch.randn(batch, length, HIDDEN, generator=generator)
    weight_VH = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    bias_V = torch.randn(VOCABULARY, generator=generator)
    targets_BT = torch.randint(0, VOCABULARY, (batch, length), generator=generator)
    targets_BT[0, :3] = IGNORED
    targets_BT[2] = IGNORED
    return hidden_BTH, weight_VH, bias_V, targets_BT


def tiny_llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **changes,
    )
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def test_plain_is_the_cross_entropy_of_the_tokens_that_count() -> None:
    hidden_BTH, weight_VH, bias_V, targets_BT = inputs_of()
    logits_BTV = hidden_BTH @ weight_VH.T + bias_V
    expected = torch.tensor(0.0)
    for sample in range(3):
        for position in range(7):
            target = int(targets_BT[sample, position])
            if target != IGNORED:
                expected -= torch.log_softmax(logits_BTV[sample, position], dim=0)[target]
    found = causal_loss_sum(hidden_BTH, weight_VH, targets_BT, chunk_tokens=None, head_bias_V=bias_V)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert token_loss_sum(logits_BTV, targets_BT).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("chunk_tokens", [1, 4, 7, 21, 1000])
def test_chunks_give_loss_and_gradients_of_plain(chunk_tokens: int) -> None:
    found = []
    for chunks in (None, chunk_tokens):
        hidden_BTH, weight_VH, bias_V, targets_BT = inputs_of()
        leaves = [leaf.requires_grad_() for leaf in (hidden_BTH, weight_VH, bias_V)]
        loss = causal_loss_sum(hidden_BTH, weight_VH, targets_BT, chunk_tokens=chunks, head_bias_V=bias_V)
        found.append((loss.detach(), *torch.autograd.grad(loss, leaves)))
    for plain, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, plain, rtol=1e-5, atol=1e-5)


class LargestOutput(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the most elements of any result."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return out


@pytest.mark.parametrize(("chunk_tokens", "rows"), [(None, 64), (8, 8 * 2)])
def test_logits_of_the_batch_exist_only_without_chunks(chunk_tokens: int | None, rows: int) -> None:
    hidden_BTH = torch.randn(4, 16, HIDDEN, requires_grad=True)
    weight_VH = torch.randn(400, HIDDEN, requires_grad=True)
    with LargestOutput() as largest:  # type: ignore[no-untyped-call]
        loss = causal_loss_sum(hidden_BTH, weight_VH, torch.zeros(4, 16, dtype=torch.long), chunk_tokens=chunk_tokens)
        loss.backward()  # type: ignore[no-untyped-call]
    # The gradient of the head, 400 x 16 elements, is as large as the logits of 16 tokens.
    assert largest.elements == rows * 400


def test_targets_move_to_where_they_are_predicted() -> None:
    assert next_tokens(torch.tensor([[5, IGNORED, 7]])).tolist() == [[IGNORED, 7, IGNORED]]


@pytest.mark.parametrize("has_adapters", [False, True])
def test_a_language_model_learns_the_same_with_chunks(has_adapters: bool) -> None:
    tokens_BT = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(2))
    found = []
    for chunks in (None, 5):
        model = tiny_llama()
        if has_adapters:
            from peft import LoraConfig, get_peft_model

            model = get_peft_model(
                model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "down_proj"])
            )
        loss_sum = partial(causal_lm_loss_sum, chunk_tokens=chunks)
        loss = loss_sum(model, {"input_ids": tokens_BT}, tokens_BT)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = {name: part.grad for name, part in model.named_parameters() if part.grad is not None}
        found.append((loss.detach(), gradients))
    (plain, expected), (chunked, gradients) = found
    torch.testing.assert_close(chunked, plain, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected.keys()
    assert gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5)


def test_a_head_that_does_more_is_found_out() -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    cpu = torch.device("cpu")
    model = tiny_llama()
    model.train()
    assert has_linear_head(model, cpu)
    assert model.training
    scaled = GraniteForCausalLM(  # type: ignore[no-untyped-call]
        GraniteConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            logits_scaling=4.0,
        )
    )
    assert not has_linear_head(scaled, cpu)
