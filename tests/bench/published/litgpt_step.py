"""What litgpt's step holds otherwise than a transformers model: padded results of LoRA, logits in chunks, a wide head.

Each amount follows from code that anyone can read; the sources stand beside it. It holds for adapters without
checkpointing on one device, whose highest moment is at the loss.
"""

from __future__ import annotations

import math
import re

from manager.workload.memory_answer import MemoryAnswer
from tests.bench.published.models import config_of
from tests.bench.published.recipe import Recipe

_FLOAT32_BYTES = 4
_HALF_BYTES = 2
_LEARNT = {"query": r"q(uery)?(_proj)?", "key": r"k(ey)?(_proj)?", "value": r"v(alue)?(_proj)?"}
_CHUNK_TOKENS = 128
_CHECKPOINT_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


def held_bytes(recipe: Recipe, answer: MemoryAnswer) -> float:
    """Bytes that litgpt holds at its highest moment beyond the answer for a transformers model; may be negative."""
    request = recipe.request
    is_adapter = request.method.kind in ("lora", "qlora")
    if not is_adapter or request.gradient_checkpointing or recipe.layout.gpus > 1 or not answer.loss_chain:
        return 0.0
    return _padded_results_bytes(recipe) + _loss_bytes(recipe) - answer.loss_chain


def _padded_results_bytes(recipe: Recipe) -> float:
    """Where not all of query, key and value learn, each layer pads LoRA's result by `index_copy`.

    litgpt/lora.py, zero_pad; torch tools/autograd/derivatives.yaml, index_copy: its source is kept for `expand_as`.
    """
    config = recipe.request.config
    targets = re.split(r"[\s,;/+]+", recipe.row.text("lora_targets"))
    learnt = {name for name, pattern in _LEARNT.items() if any(re.fullmatch(pattern, part) for part in targets)}
    if len(learnt) == len(_LEARNT):
        return 0.0
    width = sum(_width(config, name) for name in learnt)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    return float(_HALF_BYTES * recipe.batch * recipe.samples.length * layers * width)


def _width(config: dict[str, object], name: str) -> int:
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    each = _number(config, "head_dim") or hidden // heads
    groups = 1 if config.get("multi_query") else _number(config, "num_key_value_heads") or heads
    return each * (heads if name == "query" else groups)


def _loss_bytes(recipe: Recipe) -> float:
    """Logits in float32 live to the end of the step beside the results of log_softmax, which their gradients replace
    chunk by chunk; then those are cast, and the head is multiplied (litgpt/finetune/lora.py; chunked_cross_entropy in
    litgpt/utils.py; Fabric returns float32)."""
    config = recipe.request.config
    logits = recipe.batch * recipe.samples.length * _number(config, "vocab_size")
    at_loss = 2 * _FLOAT32_BYTES * logits
    at_head = (_FLOAT32_BYTES + _HALF_BYTES) * logits + _unpacked_head_bytes(recipe)
    # Where logits are capped, the tangents are kept as well (litgpt/model.py, do_softcapping).
    capped = _HALF_BYTES * logits if config.get("model_type") == "gemma2" else 0
    return float(max(at_loss, at_head) + capped + _head_copies_bytes(recipe))


def _head_copies_bytes(recipe: Recipe) -> float:
    """A frozen head in float32 is cast for each chunk of tokens, and each copy is kept for the chunk's gradient.

    Autocast remembers only casts of weights that learn (ATen/autocast_mode.cpp, cached_cast). The trace holds one.
    """
    request = recipe.request
    has_frozen_head = not re.search(r"head", recipe.row.text("lora_targets"))
    if not request.precision.endswith("-mixed") or not has_frozen_head:
        return 0.0
    chunks = math.ceil(recipe.samples.length / _CHUNK_TOKENS)
    config = request.config
    return float((chunks - 1) * _HALF_BYTES * _number(config, "vocab_size") * _number(config, "hidden_size"))


def _unpacked_head_bytes(recipe: Recipe) -> float:
    """Weights in 4 bits are unpacked in the type of the checkpoint they were read from, then cast to the type of the
    product (bitsandbytes/autograd/_functions.py, MatMul4Bit; lightning/fabric/plugins/precision/bitsandbytes.py)."""
    request = recipe.request
    if "head-in-4bit" not in request.deviations:
        return 0.0
    published = config_of(recipe.row)
    stored = str(published.get("dtype") or published.get("torch_dtype") or "")
    computed = {"bf16": "bfloat16", "fp16": "float16"}.get(request.precision, "float32")
    each = _CHECKPOINT_BYTES[computed] + (0 if stored == computed else _CHECKPOINT_BYTES.get(stored, 0))
    return float(each * _number(request.config, "vocab_size") * _number(request.config, "hidden_size"))


def _number(config: dict[str, object], name: str) -> int:
    found = config.get(name)
    return int(found) if isinstance(found, int | float) else 0
