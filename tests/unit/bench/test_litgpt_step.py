"""What litgpt holds beside a transformers model, against sums by hand; gradients of torch 1.x."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.workload.memory_answer import MemoryAnswer, memory_of
from manager.workload.memory_device import memory_device
from tests.bench.published.litgpt_step import held_bytes
from tests.bench.published.predict import memory_answer
from tests.support.trace_factory import StepShape, make_trace
from tests.unit.bench.test_published_recipe import recipe

TOKENS = 2 * 1024
LAYERS, HIDDEN, VOCABULARY = 32, 4096, 32000
LIT = "lit-gpt 8641822, torch 2.1.0+cu121, bnb 0.41.1"


def answer(loss_chain: int) -> MemoryAnswer:
    """Some answer with this loss chain."""
    trace = make_trace(StepShape(layers=2, hidden=64, vocabulary=100))
    made = memory_of(trace, batch=1, length=8, device=memory_device("A100"))
    return replace(made, loss_chain=loss_chain)


def test_lora_on_query_and_value_keeps_their_padded_sources_and_eight_bytes_a_logit() -> None:
    found = held_bytes(recipe(framework=LIT, lora_targets="query,value"), answer(1000))
    sources = 2 * TOKENS * LAYERS * 2 * HIDDEN
    assert found == sources + 8 * TOKENS * VOCABULARY - 1000


def test_lora_on_all_three_pads_nothing() -> None:
    found = held_bytes(recipe(framework=LIT, lora_targets="query,key,value"), answer(1000))
    assert found == 8 * TOKENS * VOCABULARY - 1000


def test_a_head_in_4_bits_is_unpacked_as_it_was_stored_and_cast() -> None:
    cells = {"framework": LIT, "method": "qlora", "quantization": "bnb.nf4", "lora_targets": "query,key,value"}
    short = recipe(**cells, seq_len="256", micro_batch="1")
    # Llama 2 is published in float16 and computes in bfloat16 here.
    assert held_bytes(short, answer(1000)) == 6 * 256 * VOCABULARY + 4 * HIDDEN * VOCABULARY - 1000
    same = recipe(**cells, seq_len="256", micro_batch="1", model="mistralai/Mistral-7B-v0.1")
    assert held_bytes(same, answer(1000)) == 6 * 256 * VOCABULARY + 2 * HIDDEN * VOCABULARY - 1000


def test_grouped_values_are_narrower() -> None:
    found = held_bytes(
        recipe(framework=LIT, lora_targets="query,value", model="mistralai/Mistral-7B-v0.1"), answer(1000)
    )
    assert found == 2 * TOKENS * LAYERS * (HIDDEN + 1024) + 8 * TOKENS * VOCABULARY - 1000


def test_a_frozen_head_in_float32_is_cast_for_each_chunk_of_128_tokens() -> None:
    cells = {"framework": LIT, "lora_targets": "query,key,value", "precision": "bf16-mixed"}
    logits = 8 * TOKENS * VOCABULARY - 1000
    # The trace holds one of the eight copies that 1,024 tokens take.
    copies = 7 * 2 * HIDDEN * VOCABULARY
    assert held_bytes(recipe(**cells), answer(1000)) == logits + copies
    learnt = recipe(**cells | {"lora_targets": "query,key,value,head"})
    assert held_bytes(learnt, answer(1000)) == logits


def test_capped_logits_keep_their_tangents() -> None:
    capped = recipe(framework=LIT, lora_targets="query,key,value,head", model="google/gemma-2-2b")
    vocabulary = capped.request.config["vocab_size"]
    assert held_bytes(capped, answer(1000)) == 10 * TOKENS * vocabulary - 1000


@pytest.mark.parametrize("cells", [{"method": "full"}, {"gradient_checkpointing": "yes"}])
def test_other_steps_of_litgpt_are_taken_as_they_are(cells: dict[str, str]) -> None:
    assert held_bytes(recipe(framework=LIT, **cells), answer(1000)) == 0.0


def test_gradients_of_torch_1_stand_from_step_to_step() -> None:
    trace = make_trace(StepShape(layers=3, hidden=128, vocabulary=500))
    cells = {"method": "full", "grad_accum": "1", "framework": "HF Trainer, torch 1.12"}
    old = memory_answer(recipe(**cells), trace)
    new = memory_answer(recipe(**cells | {"framework": "HF Trainer, torch 2.1"}), trace)
    accumulated = memory_answer(recipe(**cells | {"framework": "HF Trainer, torch 2.1", "grad_accum": "4"}), trace)
    assert old.allocated_bytes > new.allocated_bytes
    assert old.lines() == accumulated.lines()
