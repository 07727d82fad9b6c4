"""What learns under each method, for heads that are new, pre-trained, shared, or outside any backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.failures import TaskError
from tasks.job import MethodChoice
from tasks.losses import classification_loss_sum
from tasks.methods import METHODS, FreshModel, apply_method, fresh_model, head_modules
from tasks.step import run_micro_batch

pytestmark = pytest.mark.torch


def gpt2() -> FreshModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    return fresh_model(
        GPT2LMHeadModel(config),  # type: ignore[no-untyped-call]
        has_new_head=False,
        adapter_task="CAUSAL_LM",
    )


def llama(*, is_tied: bool = False) -> FreshModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=20,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=is_tied,
    )
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    return fresh_model(model, has_new_head=False, adapter_task="CAUSAL_LM")


def learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_adapters_leave_the_head_of_a_language_model_alone() -> None:
    model = apply_method(llama(), MethodChoice(kind="lora", lora_rank=2)).model
    assert learning(model)
    assert all("lora_" in name for name in learning(model))
    # Seven linear layers a block, two matrices each; none on the head.
    assert len(learning(model)) == 2 * 7 * 2
    assert not [name for name in learning(model) if "lm_head" in name]


def test_adapters_find_the_linear_layers_of_gpt2() -> None:
    model = apply_method(gpt2(), MethodChoice(kind="lora", lora_rank=2)).model
    assert len(learning(model)) == 2 * 4 * 2
    wide = model.get_parameter("base_model.model.transformer.h.0.mlp.c_fc.lora_B.default.weight")
    assert wide.shape == (32, 2)
    model(input_ids=torch.arange(4)[None]).logits.sum().backward()
    assert all(part.grad is not None for part in model.parameters() if part.requires_grad)


@pytest.mark.parametrize(("is_tied", "expected"), [(False, {"lm_head.weight"}), (True, {"model.embed_tokens.weight"})])
def test_a_frozen_backbone_trains_the_head_shared_or_not(is_tied: bool, expected: set[str]) -> None:
    fresh = llama(is_tied=is_tied)
    tuned = apply_method(fresh, MethodChoice(kind="frozen"))
    assert learning(tuned.model) == expected
    assert tuned.still == (fresh.model.get_submodule("model"),)


def test_a_model_without_a_backbone_has_what_makes_logits_as_head() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    model = T5ForConditionalGeneration(config)
    assert head_modules(model) == {"lm_head"}
    fresh = fresh_model(model, has_new_head=False, adapter_task="SEQ_2_SEQ_LM")
    assert fresh.backbone == ""
    assert learning(apply_method(fresh, MethodChoice(kind="frozen")).model) == {"shared.weight"}


def test_parts_without_weights_belong_to_the_head() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BertForSequenceClassification(config)  # type: ignore[no-untyped-call]
    missing = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight"})
    assert head_modules(model) == {"classifier"}
    assert head_modules(model, missing) == {"classifier", "bert.pooler.dense"}


def test_lora_names_modules_that_are_not_there() -> None:
    with pytest.raises(TaskError, match="LoRA cannot be applied") as raised:
        apply_method(llama(), MethodChoice(kind="lora", lora_targets=["query_key_value"]))
    assert str(raised.value.hint).startswith("method.targets names modules")
    assert "all-linear" in str(raised.value.hint)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(TaskError, match="dora") as raised:
        apply_method(llama(), MethodChoice(kind="dora"))
    assert all(name in str(raised.value.hint) for name in METHODS)


class _Scored(nn.Module):
    """A classifier of three numbers, in the shape of transformers' outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, values: torch.Tensor) -> object:
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.layer(values))


def test_micro_batches_add_up_to_the_batch_and_a_filler_to_nothing() -> None:
    values, targets = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0, 1, 0])
    whole, cut = _Scored(), _Scored()

    def part(model: nn.Module, rows: slice, weight: float = 1.0) -> torch.Tensor:
        return run_micro_batch(
            model,
            {"values": values[rows]},
            targets[rows],
            loss_sum=classification_loss_sum,
            backward=torch.Tensor.backward,
            weight=weight,
            scale=1 / 6,
        )

    expected = part(whole, slice(None))
    found = part(cut, slice(0, 4)) + part(cut, slice(4, 6)) + part(cut, slice(0, 1), weight=0.0)
    assert not expected.requires_grad
    torch.testing.assert_close(found, expected)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
        assert one.grad is not None
        assert one.grad.abs().sum() > 0


def test_the_step_runs_on_tensors_without_storage() -> None:
    with torch.device("meta"):
        model = _Scored()
        inputs, targets = {"values": torch.empty(6, 3)}, torch.empty(6, dtype=torch.long)
    loss = run_micro_batch(
        model,
        inputs,
        targets,
        loss_sum=classification_loss_sum,
        backward=torch.Tensor.backward,
        weight=1.0,
        scale=1 / 6,
    )
    assert loss.device.type == "meta"
    assert model.layer.weight.grad is not None
