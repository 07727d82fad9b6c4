"""From a config.json to a ModelShape: which fields each `model_type` uses, and its exact parameter count.

Owns the layouts of transformers 5 for text models, as formulas over the config; tests compare each with the count of
the real module. A model type without a formula is refused: a guess would end in a wrong plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manager.catalog.config_reader import ConfigReader
from manager.catalog.decoder_shapes import gpt2_shape, llama_like_shape, opt_shape, phi_shape
from manager.catalog.encoder_shapes import bert_like_shape, deberta_v2_shape, distilbert_shape, modernbert_shape
from manager.catalog.model_shape import ModelShape
from manager.errors import DataError

_Builder = Callable[[ConfigReader, str, str], ModelShape]

_BUILDERS: dict[str, _Builder] = {
    "bert": bert_like_shape,
    "roberta": bert_like_shape,
    "xlm-roberta": bert_like_shape,
    "camembert": bert_like_shape,
    "electra": bert_like_shape,
    "mpnet": bert_like_shape,
    "distilbert": distilbert_shape,
    "deberta-v2": deberta_v2_shape,
    "modernbert": modernbert_shape,
    "gpt2": gpt2_shape,
    "opt": opt_shape,
    "phi": phi_shape,
    "llama": llama_like_shape,
    "mistral": llama_like_shape,
    "qwen2": llama_like_shape,
    "qwen3": llama_like_shape,
    "smollm3": llama_like_shape,
    "gemma": llama_like_shape,
    "gemma2": llama_like_shape,
    "gemma3_text": llama_like_shape,
    "phi3": llama_like_shape,
}

SUPPORTED_MODEL_TYPES = tuple(sorted(_BUILDERS))


def shape_from_mapping(config: Mapping[str, Any], *, name: str, source: str) -> ModelShape:
    """The shape behind a parsed config.json.

    Raises:
        DataError: the model type is missing or has no formula, or a field is missing or wrong.
    """
    reader = ConfigReader(config, name)
    model_type = reader.text("model_type")
    if model_type is None:
        raise DataError(
            f"config.json of {name} has no field 'model_type'",
            hint=f"supported model types: {', '.join(SUPPORTED_MODEL_TYPES)}",
        )
    builder = _BUILDERS.get(model_type)
    if builder is None:
        raise DataError(
            f"model type '{model_type}' of {name} is not supported",
            hint=f"supported model types: {', '.join(SUPPORTED_MODEL_TYPES)}",
        )
    if config.get("quantization_config") is not None:
        raise DataError(
            f"{name} holds quantized weights (quantization_config)", hint="use the unquantized model that it came from"
        )
    return builder(reader, name, source)
