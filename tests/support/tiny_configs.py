"""Configs of small models of many families, as their config.json would say; a few thousand to a million weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyCase:
    """A small model with a task and a batch for it."""

    name: str
    config: dict[str, Any]
    task: str
    batch: int = 4
    length: int = 64

    def __str__(self) -> str:
        return self.name


_TEXT = {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
_WIDE = {**_TEXT, "intermediate_size": 128}
_GROUPED = {**_WIDE, "num_key_value_heads": 2, "max_position_embeddings": 256}
_VISION = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}


def _case(model_type: str, task: str, batch: int = 4, length: int = 64, **values: Any) -> TinyCase:
    config = {"model_type": model_type, **values}
    return TinyCase(name=f"{model_type}-{task}", config=config, task=task, batch=batch, length=length)


TINY_CASES = (
    _case("gpt2", "causal-lm", vocab_size=1000, n_embd=64, n_layer=3, n_head=4, n_positions=128),
    _case("llama", "causal-lm", **_GROUPED),
    _case("qwen2", "causal-lm", **_GROUPED, tie_word_embeddings=True),
    _case("gemma2", "causal-lm", **_GROUPED, head_dim=16, sliding_window=32),
    _case("opt", "causal-lm", **_TEXT, ffn_dim=128, word_embed_proj_dim=64, max_position_embeddings=128),
    _case("bert", "text-classification", **_WIDE),
    _case("distilbert", "text-classification", vocab_size=1000, dim=64, n_layers=3, n_heads=4, hidden_dim=128),
    _case("modernbert", "text-classification", **_WIDE, pad_token_id=0, local_attention=32),
    _case("deberta-v2", "text-classification", **_WIDE, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    _case("roberta", "masked-lm", **_WIDE, max_position_embeddings=130),
    _case(
        "t5",
        "seq2seq-lm",
        vocab_size=1000,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=3,
        num_heads=4,
        decoder_start_token_id=0,
    ),
    _case("vit", "image-classification", batch=8, length=1, **_VISION, image_size=64, patch_size=8),
    _case(
        "resnet",
        "image-classification",
        length=1,
        image_size=64,
        embedding_size=32,
        hidden_sizes=[64, 96, 128, 160],
        depths=[3, 4, 6, 3],
    ),
    _case(
        "wav2vec2",
        "speech-ctc",
        length=8000,
        **_WIDE | {"vocab_size": 32},
        conv_dim=[32] * 7,
        num_conv_pos_embedding_groups=4,
        num_conv_pos_embeddings=16,
        ctc_loss_reduction="sum",
    ),
    _case(
        "whisper",
        "speech-seq2seq",
        batch=2,
        length=32,
        vocab_size=1000,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_source_positions=100,
        max_target_positions=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    ),
    _case(
        "clip",
        "contrastive",
        length=32,
        text_config={**_WIDE, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**_VISION, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    ),
)
