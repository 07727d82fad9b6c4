"""Configs of small vision-language models, as their config.json would say; one image of 16 or a few more patches."""

from __future__ import annotations

from typing import Any

IMAGE_TOKEN = 5
_TEXT = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
}
_LLAMA = {"model_type": "llama", **_TEXT}
_LAYERS = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
_FRAME = {"image_size": 64, "patch_size": 16}
_CLIP = {"model_type": "clip_vision_model", **_LAYERS, **_FRAME}
_SIGLIP = {"model_type": "siglip_vision_model", **_LAYERS, **_FRAME}
_QWEN_TEXT = {
    **_TEXT,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
}


def _config(model_type: str, text: dict[str, Any], vision: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"model_type": model_type, "text_config": text, "vision_config": vision, **values}


TINY_PICTURED: dict[str, dict[str, Any]] = {
    "llava": _config("llava", _LLAMA, _CLIP, image_token_index=IMAGE_TOKEN),
    "llava, another encoder": _config(
        "llava",
        _LLAMA,
        {**_SIGLIP, "vision_use_head": False},
        image_token_index=IMAGE_TOKEN,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    ),
    "llava_next": _config(
        "llava_next",
        _LLAMA,
        _CLIP,
        image_token_index=IMAGE_TOKEN,
        image_grid_pinpoints=[[64, 128], [128, 64], [128, 128]],
    ),
    "qwen2_vl": _config(
        "qwen2_vl",
        _QWEN_TEXT,
        {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 4, "patch_size": 8},
        image_token_id=IMAGE_TOKEN,
    ),
    "qwen2_5_vl": _config(
        "qwen2_5_vl",
        _QWEN_TEXT,
        {
            "depth": 2,
            "hidden_size": 64,
            "out_hidden_size": 64,
            "intermediate_size": 96,
            "num_heads": 4,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=IMAGE_TOKEN,
    ),
    "idefics3": _config("idefics3", _LLAMA, {**_LAYERS, **_FRAME}, image_token_id=IMAGE_TOKEN, pad_token_id=0),
    "smolvlm": _config("smolvlm", _LLAMA, {**_LAYERS, **_FRAME}, image_token_id=IMAGE_TOKEN, pad_token_id=0),
    "paligemma": _config(
        "paligemma",
        {**_LLAMA, "model_type": "gemma", "head_dim": 16},
        {**_SIGLIP, "projection_dim": 64},
        image_token_index=IMAGE_TOKEN,
        projection_dim=64,
    ),
    "gemma3": _config(
        "gemma3",
        {
            **_LLAMA,
            "model_type": "gemma3_text",
            "head_dim": 16,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        _SIGLIP,
        image_token_index=IMAGE_TOKEN,
        mm_tokens_per_image=4,
    ),
    "internvl": _config(
        "internvl",
        {**_LLAMA, "model_type": "qwen2"},
        {**_LAYERS, "image_size": [64, 64], "patch_size": [16, 16]},
        image_token_id=IMAGE_TOKEN,
    ),
    "mllama": _config(
        "mllama",
        {**_TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1]},
        {
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_global_layers": 1,
            "attention_heads": 4,
            "intermediate_size": 96,
            "image_size": 64,
            "patch_size": 16,
            "vision_output_dim": 96,
            "intermediate_layers_indices": [1],
        },
        image_token_index=IMAGE_TOKEN,
    ),
}
ANY_SIZE = ("llava_next", "qwen2_vl", "qwen2_5_vl", "internvl")
"""Those for which the size of an image has to be said."""
