"""The table of model types as the installed transformers defines them: `python -m tests.support.model_types > FILE`.

One row per type that transformers can train for one of our tasks: which tasks, which classes name it in
`architectures`, and under which name its config keeps each dimension.
"""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

COLUMNS = (
    *("model_type", "tasks", "architectures", "hidden", "layers", "heads", "vocabulary", "positions"),
    *("own_head_size", "rotary", "as_of", "source"),
)
_MAPPINGS = {
    "causal-lm": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked-lm": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "seq2seq-lm": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "text-classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "image-classification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "audio-classification": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    "speech-ctc": "MODEL_FOR_CTC_MAPPING_NAMES",
    "speech-seq2seq": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "image-text-to-text": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "contrastive": "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES",
}
_USUAL_FIRST = (
    *("image-text-to-text", "speech-seq2seq", "speech-ctc", "contrastive", "seq2seq-lm"),
    *("text-classification", "masked-lm", "causal-lm", "image-classification", "audio-classification"),
)
_TEXT = {"causal-lm", "masked-lm", "seq2seq-lm", "text-classification", "speech-seq2seq"}
_NAMES = {
    "hidden": ("hidden_size", "d_model", "n_embd", "dim", "emb_dim"),
    "layers": ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers"),
    "heads": ("num_attention_heads", "num_heads", "n_head", "n_heads", "encoder_attention_heads"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions"),
}
_HEAD_SIZES = ("head_dim", "d_kv", "d_head", "kv_channels", "attention_head_size", "v_head_dim")
_EXTRA_ALIASES = {("bloom", "hidden_size"): ("n_embed",)}
"""Names that a class takes in its own code."""
_READS_BOTH_WAYS = {"xlnet"}
"""Types with a class for causal language modelling that are tuned as encoders."""
_RELATIVE = {"t5", "mt5", "umt5", "longt5", "switch_transformers", "xlnet", "bloom"}
"""Types whose length has no bound, whatever their config says."""


def rows(only: frozenset[str] | None = None) -> list[dict[str, str]]:
    """Rows of the table, sorted by model type; of some types alone where `only` names them."""
    classes: dict[str, dict[str, list[str]]] = {}
    for task, mapping in _MAPPINGS.items():
        for model_type, names in getattr(modeling_auto, mapping).items():
            found = [names] if isinstance(names, str) else list(names)
            classes.setdefault(model_type, {})[task] = found
    return [
        _row(model_type, classes[model_type]) for model_type in sorted(classes) if only is None or model_type in only
    ]


def default_config(model_type: str) -> dict[str, Any] | None:
    """A config as `save_pretrained` writes it; None where transformers has no default config of the type."""
    try:
        config_class: Any = CONFIG_MAPPING[model_type]
        found: dict[str, Any] = json.loads(config_class().to_json_string(use_diff=True))
    except (ImportError, KeyError, TypeError, ValueError, StrictDataclassError):
        return None
    return found


def _row(model_type: str, classes: dict[str, list[str]]) -> dict[str, str]:
    tasks = set(classes)
    if "causal-lm" in tasks and tasks & {"masked-lm", "seq2seq-lm", "speech-seq2seq"}:
        tasks.remove("causal-lm")
    order = sorted(tasks, key=_USUAL_FIRST.index)
    if "causal-lm" in tasks and "text-classification" in tasks and model_type not in _READS_BOTH_WAYS:
        order.remove("causal-lm")
        order.insert(order.index("text-classification"), "causal-lm")
    base = getattr(modeling_auto, "MODEL_MAPPING_NAMES").get(model_type, ())  # noqa: B009
    names = [name for found in classes.values() for name in found] + ([base] if isinstance(base, str) else list(base))
    fields = _fields(model_type)
    # Models in stages have one width for each; the hidden size of their config is derived.
    composite = "text_config" in fields or "depths" in fields
    row = dict.fromkeys(COLUMNS, "")
    row |= {"model_type": model_type, "tasks": ";".join(order), "architectures": ";".join(dict.fromkeys(names))}
    for column, candidates in _NAMES.items():
        is_text = bool(tasks & _TEXT)
        if composite or (column in ("vocabulary", "positions") and not is_text):
            continue
        if column == "positions" and model_type in _RELATIVE:
            continue
        own = next((name for name in candidates if isinstance(fields.get(name), int)), "")
        row[column] = "|".join((own, *_aliases(model_type, own))) if own else ""
    if not row["hidden"]:
        row["layers"] = row["heads"] = ""
    row["own_head_size"] = "yes" if _has_own_head_size(model_type, fields, row["hidden"].split("|")[0]) else ""
    row["rotary"] = "yes" if "rope_parameters" in fields and not composite else ""
    row["as_of"] = "2026-11-21"
    row["source"] = f"transformers {transformers.__version__}: models/auto/modeling_auto.py and the class of the config"
    return row


def _aliases(model_type: str, own: str) -> tuple[str, ...]:
    """Other names under which the class of the config takes this field."""
    named = getattr(CONFIG_MAPPING[model_type], "attribute_map", {})
    return (*(alias for alias, name in named.items() if name == own), *_EXTRA_ALIASES.get((model_type, own), ()))


def _has_own_head_size(model_type: str, fields: dict[str, Any], hidden: str) -> bool:
    """Whether the size of a head is a field with a default, instead of the hidden size over the heads."""
    heads = next((fields[name] for name in _NAMES["heads"] if isinstance(fields.get(name), int)), 1)
    if hidden and fields[hidden] % heads:
        return True
    sizes = [name for name in _HEAD_SIZES if fields.get(name)]
    if not sizes or not hidden:
        return bool(sizes)
    wider = _fields(model_type, **{hidden: 2 * fields[hidden]})
    return any(wider.get(name) == fields[name] for name in sizes)


def _fields(model_type: str, **changed: int) -> dict[str, Any]:
    """Fields of a config with defaults but for `changed`; empty for a type that has none."""
    try:
        config_class: Any = CONFIG_MAPPING[model_type]
        return dict(vars(config_class(**changed)))
    except (ImportError, KeyError, TypeError, ValueError, StrictDataclassError):
        return {}


def main() -> None:
    """Write the table to stdout."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows())


if __name__ == "__main__":
    main()
