"""ModelShape: the dimensions and the exact parameter count of one transformer, apart from any task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What the estimates need to know of a model."""

    name: str
    """Hub id, or the last two parts of a folder's path."""
    model_type: str
    """`model_type` of its config.json."""
    family: str
    """`encoder` or `decoder`."""
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    """Width of one attention head; not always hidden_size / attention_heads."""
    vocabulary_size: int
    max_positions: int | None
    """Longest sequence in tokens that the model takes; None where the config does not say."""
    position_table_size: int
    """Rows of the learned table of positions; 0 where positions are computed (rotary, relative)."""
    type_vocabulary_size: int
    """Rows of the table of token types; 0 where there is none."""
    embedding_size: int
    """Width of a token's embedding before it enters the layers."""
    gated_mlp: bool
    """Whether the feed-forward block has a gate (three matrices instead of two)."""
    tied_embeddings: bool
    """Whether a language-model head would share the token embeddings."""
    parameters: int
    """Of the backbone that a sequence classifier uses (`model.base_model`), without any head."""
    embedding_parameters: int
    """Of which tables: tokens, positions, token types."""
    has_pooler: bool
    """Whether the backbone ends in a pooler, one more hidden x hidden layer (counted in `parameters`)."""
    head_width: int
    """Inputs of the last linear layer of a sequence classifier."""
    head_bias: bool
    """Whether that layer has a bias."""
    head_hidden_parameters: int
    """Of a sequence classifier's head before that layer; 0 where there is nothing."""
    stored_dtype: str | None
    """dtype of the stored weights as config.json names it (`float32`, `bfloat16` ...); None where it does not."""
    weights_bytes: int | None
    """Size of the safetensors files; None when they are not here."""
    source: str
    """Where the shape comes from, for people."""
    is_folder: bool = False
    """Whether the model is a folder of this machine, which no hub has."""


def classifier_parameters(shape: ModelShape, num_labels: int) -> int:
    """Parameters of the head that `AutoModelForSequenceClassification` adds for so many labels."""
    bias = num_labels if shape.head_bias else 0
    return shape.head_hidden_parameters + shape.head_width * num_labels + bias
