"""Constants in configs from the wild, and files that hold no config: refused by field, with a hint, no traceback."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from manager.catalog.config_check import checked_config
from manager.catalog.models import resolve_entry
from manager.errors import DataError, ExitCode
from manager.profiling.effective_config import effective_config

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 300,
}
ROPE = {"rope_type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [4, 8]}


@pytest.mark.parametrize(
    "fields",
    [
        {"rms_norm_eps": 1e-6, "initializer_range": 0.02, "attention_dropout": 0.1},
        {"rms_norm_eps": None, "attention_dropout": None, "pad_token_id": None},
        {"pad_token_id": -1, "eos_token_id": [1, 2]},
        {"rope_theta": 1_000_000},
        {"rope_scaling": ROPE},
        {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}},
        {"attention_drop_rate": [0.0, 0.1]},
    ],
)
def test_accepted(fields: dict[str, Any]) -> None:
    assert checked_config({**LLAMA, **fields}, "test/model") == {**LLAMA, **fields}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rms_norm_eps": "1e-6"}, "'rms_norm_eps' is '1e-6'"),
        ({"rms_norm_eps": math.nan}, "'rms_norm_eps' is nan"),
        ({"layer_norm_epsilon": -1e-5}, "'layer_norm_epsilon' is -1e-05"),
        ({"initializer_range": math.inf}, "'initializer_range' is inf"),
        ({"attention_dropout": 2.0}, "'attention_dropout' is 2.0"),
        ({"hidden_dropout_prob": "0.1"}, "'hidden_dropout_prob' is '0.1'"),
        ({"rope_theta": "1e4"}, "'rope_theta' is '1e4'"),
        ({"rope_theta": 0}, "'rope_theta' is 0"),
        ({"rope_theta": 10**400}, "'rope_theta' is 1"),
        ({"pad_token_id": [0]}, "'pad_token_id' is [0]"),
        ({"bos_token_id": "<s>"}, "'bos_token_id' is '<s>'"),
        ({"eos_token_id": [1, "</s>"]}, "'eos_token_id' is [1, '</s>']"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "no field 'rope_scaling.low_freq_factor'"),
        ({"rope_scaling": {"type": "linear"}}, "no field 'rope_scaling.factor'"),
        ({"rope_scaling": {**ROPE, "long_factor": "x"}}, "'rope_scaling.long_factor' is 'x'"),
        ({"rope_scaling": {**ROPE, "short_factor": [math.nan]}}, "'rope_scaling.short_factor' is [nan]"),
        ({"rope_parameters": {"rope_type": ["yarn"]}}, "'rope_parameters.rope_type' is ['yarn']"),
        ({"rope_parameters": {"rope_theta": "big"}}, "'rope_parameters.rope_theta' is 'big'"),
        ({"text_config": {"rms_norm_eps": "small"}}, "'rms_norm_eps' is 'small'"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "'quantization_config' is 'mxfp4'"),
    ],
)
def test_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        checked_config({**LLAMA, **fields}, "test/model")
    assert message in caught.value.message
    assert caught.value.hint


def test_weights_published_in_8_or_4_bits_can_be_dequantized() -> None:
    hints = []
    for method in ("fp8", "gptq"):
        with pytest.raises(DataError) as caught:
            checked_config({**LLAMA, "quantization_config": {"quant_method": method}}, "test/model")
        hints.append(str(caught.value.hint))
    assert "dequantize=True" in hints[0]
    assert "the unquantized model that it came from" in hints[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"model_type": "llama",',
        "[1, 2]",
        "null",
        '"llama"',
        "\ufeff{}",
        "// mine\n{}",
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"vocab_size": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_config_is_an_error_of_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"config\.json") as caught:
        resolve_entry(str(tmp_path))
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{\x00}\x00")
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        resolve_entry(str(tmp_path))


def test_padding_outside_the_vocabulary_is_another_model() -> None:
    """Embeddings refuse it, so that no trace of a sound config may stand in for it."""
    plain = effective_config(LLAMA)
    assert effective_config({**LLAMA, "pad_token_id": 299}) == plain
    assert effective_config({**LLAMA, "pad_token_id": 300}) == {**plain, "pad_token_id": 300}


def test_numbers_of_a_large_file_are_read(tmp_path: Path) -> None:
    labels = {str(number): "x" * 50 for number in range(20_000)}
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "id2label": labels}), encoding="utf-8")
    assert resolve_entry(str(tmp_path)).model_type == "llama"


def test_heads_of_keys_left_out_are_those_of_the_config_class() -> None:
    """Qwen2 takes 32 where the field is missing, Llama as many as it has heads."""
    small = {**LLAMA, "model_type": "qwen2"}
    with pytest.raises(DataError, match="no field 'num_key_value_heads'") as caught:
        checked_config(small, "test/model")
    assert "the default of 'qwen2' is 32" in str(caught.value.hint)
    assert checked_config({**small, "num_key_value_heads": None}, "test/model")
    assert checked_config(LLAMA, "test/model")


def test_class_names_are_checked_beside_a_type() -> None:
    with pytest.raises(DataError, match="'architectures' is nan"):
        checked_config({**LLAMA, "architectures": math.nan}, "test/model")
