"""What a model's config.json does not say, or says under another name in each family: dropout, activation, attention.

Defaults of the configuration classes of transformers 5 (`models/<type>/configuration_<type>.py`), and which modeling
files run scaled_dot_product_attention.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How a model family trains."""

    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    activation: str = "gelu"
    fused_attention: bool = True


_BERT = Traits(hidden_dropout=0.1, attention_dropout=0.1)
_LLAMA = Traits(activation="silu")
_TRAITS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _BERT,
    "mpnet": Traits(hidden_dropout=0.1, attention_dropout=0.1, fused_attention=False),
    "deberta-v2": Traits(hidden_dropout=0.1, attention_dropout=0.1, fused_attention=False),
    "modernbert": Traits(),
    "gpt2": Traits(hidden_dropout=0.1, attention_dropout=0.1, activation="gelu_new"),
    "opt": Traits(hidden_dropout=0.1, activation="relu"),
    "phi": Traits(activation="gelu_new"),
}


def traits_of(model_type: str, family: str) -> Traits:
    """Traits of a model type; those of BERT or Llama, by family, for one that is not in the table."""
    return _TRAITS.get(model_type, _BERT if family == "encoder" else _LLAMA)
