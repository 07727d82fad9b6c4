"""A config.json from the wild, checked before anything is built from it: usable as it is, or refused by field.

Owns what can be said without building the model: which type it is, whether its fields have the kind of value that
transformers takes, whether its dimensions fit together. It changes nothing but `model_type` where `architectures` tells
it, because training reads the same file: a field that transformers would ignore is refused, not translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.catalog.config_dimensions import check_dimensions
from manager.catalog.config_fields import field_error
from manager.catalog.config_values import check_values
from manager.catalog.model_types import ModelType, model_type, type_of_architecture
from manager.catalog.timm_names import timm_config

_QUANTIZED_FIELDS = ("quantization_config", "compression_config", "quantization")
_DEQUANTIZED = ("fp8", "mxfp4")
"""Methods of published models (DeepSeek V3, gpt-oss) whose loaders of transformers can dequantize."""
_NESTED = ("text_config", "vision_config", "audio_config")
_TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
"""Fields under which composite configs keep their language model."""
_DTYPES = ("float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2")
_ENDINGS = (
    ("ForCausalLM", ("causal-lm",)),
    ("LMHeadModel", ("causal-lm",)),
    ("ForMaskedLM", ("masked-lm",)),
    ("ForSequenceClassification", ("text-classification",)),
    ("ForSpeechSeq2Seq", ("speech-seq2seq",)),
    ("ForCTC", ("speech-ctc",)),
    ("ForImageClassification", ("image-classification",)),
    ("ForAudioClassification", ("audio-classification",)),
)
"""What the class in `architectures` says of a type that no table knows."""


def checked_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The config with its `model_type`, after all checks.

    Args:
        config: a parsed config.json.
        where: which model it belongs to, for errors.

    Raises:
        DataError: something in it cannot be used; the message names the field.
    """
    if timm := timm_config(config, where):
        return timm
    _architectures(config, where)
    found = {**config, "model_type": _type_name(config, where)}
    known = model_type(found["model_type"])
    _check_code(config, known, where)
    _check_quantization(config, where)
    stored_dtype(config, where)
    parts = {name: _nested(config, name, where) for name in _NESTED}
    for part in (config, *(nested for nested in parts.values() if nested)):
        _check_flags(part, where)
        check_values(part, where)
    if known is not None:
        check_dimensions(config, known, where)
    text = _text_part(config)
    if text is not config:
        inner = model_type(str(text.get("model_type")))
        check_dimensions(text, inner, where, is_nested=True)
    return found


def tasks_of(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """What a checked config can be trained for, the usual task first.

    Raises:
        DataError: neither its type nor its class is known to be trainable.
    """
    known = model_type(str(config["model_type"]))
    if known is not None:
        return known.tasks
    for name in _architectures(config, where):
        for ending, tasks in _ENDINGS:
            if name.endswith(ending):
                return tasks
    raise field_error(
        where,
        "model_type",
        config["model_type"],
        "a type that transformers can train",
        hint="a newer transformers may know it: then `architectures` has to name a class such as LlamaForCausalLM",
    )


def stored_dtype(config: Mapping[str, Any], where: str) -> str | None:
    """The dtype of the stored weights; `dtype` wins over the older `torch_dtype`, as in transformers.

    Raises:
        DataError: it is no dtype.
    """
    for part in (config, _text_part(config)):
        for name in ("dtype", "torch_dtype"):
            value = part.get(name)
            if value is None or value == "auto":
                continue
            text = value.removeprefix("torch.") if isinstance(value, str) else value
            if text not in _DTYPES:
                raise field_error(where, name, value, f"one of {', '.join(_DTYPES)}")
            return str(text)
    return None


def max_positions(config: Mapping[str, Any]) -> int | None:
    """Longest text of a checked config, in tokens; None where nothing bounds it or there is no text."""
    text = _text_part(config)
    name = text.get("model_type") or ("clip_text_model" if config.get("model_type") == "clip" else None)
    known = model_type(str(name or config.get("model_type")))
    names = known.position_names if known is not None else ("max_position_embeddings",)
    value = next((text[name] for name in names if text.get(name) is not None), None)
    if value is None and text is not config:
        value = text.get("max_position_embeddings")
    if not isinstance(value, int):
        return None
    if known is not None and known.name in _BEHIND_PADDING:
        padding = text.get("pad_token_id")
        return value - 1 - (padding if isinstance(padding, int) else 1)
    return value


_BEHIND_PADDING = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "roberta-prelayernorm", "data2vec-text"}
)
"""Types that number positions from behind the padding index (`create_position_ids_from_input_ids`)."""


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of the language model in a composite config; the config itself where it is not composite."""
    return next((config[name] for name in _TEXT if isinstance(config.get(name), dict)), config)


def _type_name(config: Mapping[str, Any], where: str) -> str:
    name = config.get("model_type")
    if isinstance(name, str) and name:
        return name
    if name not in (None, ""):
        raise field_error(where, "model_type", name, "a text such as 'llama'")
    for architecture in _architectures(config, where):
        known = type_of_architecture(architecture)
        if known is not None:
            return known.name
    raise field_error(
        where,
        "model_type",
        None,
        "",
        hint='add it (such as "model_type": "llama"), or `architectures` with a class of transformers',
    )


def _architectures(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = config.get("architectures")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise field_error(where, "architectures", value, "a list of class names")
    return tuple(value)


def _check_code(config: Mapping[str, Any], known: ModelType | None, where: str) -> None:
    """Refuse models that only code from the hub can build; one that transformers knows too needs none of it."""
    if known is None and config.get("auto_map"):
        raise field_error(
            where,
            "auto_map",
            config["auto_map"],
            "nothing: it asks for code from the hub, which is never run here",
            hint="use a version of the model for transformers itself (its id often ends in -hf)",
        )


def _check_quantization(config: Mapping[str, Any], where: str) -> None:
    for prefix, part in (("", config), *((f"{name}.", config.get(name)) for name in _NESTED)):
        for name in _QUANTIZED_FIELDS:
            value = part.get(name) if isinstance(part, dict) else None
            if value:
                method = value.get("quant_method") if isinstance(value, dict) else None
                raise field_error(
                    where, prefix + name, method or value, "no quantized weights", hint=_unquantized(method)
                )


def _unquantized(method: object) -> str:
    """What to do about weights that are stored quantized; models that are published in 8 or 4 bits have no original."""
    if method in _DEQUANTIZED:
        return (
            "use a version with weights in 16 bits (load it with `dequantize=True` in its quantization config and "
            "`save_pretrained` it); method qlora quantizes that to 4 bits itself"
        )
    return "use the unquantized model that it came from; method qlora quantizes that to 4 bits itself"


def _nested(config: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any] | None:
    value = config.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise field_error(where, name, value, "an object with the fields of that part")


def _check_flags(config: Mapping[str, Any], where: str) -> None:
    for name in ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window", "is_encoder_decoder"):
        value = config.get(name)
        if value is not None and not isinstance(value, bool):
            raise field_error(where, name, value, "true or false")
