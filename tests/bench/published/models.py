"""Models: the config behind a model's name as a published row writes it.

Owns the reading of free text ("torchvision resnet152 (Lightning)", "bert-base-uncased config (random weights)"); names
themselves belong to the catalog. It refuses a name that the catalog does not know, and answers timm's and torchvision's
names with timm's architecture of that name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from manager.catalog.config_check import max_positions
from manager.catalog.models import resolve_entry
from manager.catalog.names import match_name
from manager.profiling.effective_config import without_longest
from tests.bench.published.rows import Row
from tests.bench.published.words import NotExpressible, has

_PARENTHESES = re.compile(r"\([^)]*\)")
_DECORATION = re.compile(r"\b(timm|torchvision|hf|huggingface|config|class|random|weights|v1\.5|v1_5)\b", re.IGNORECASE)
_SCRIPT = re.compile(r"^(run|sft|train|finetune)(_[a-z0-9]+)*?_(?=[a-z]+[a-z0-9.]*-)", re.IGNORECASE)
_SUFFIX = re.compile(r"_(single_card|multi_card|deepspeed|fsdp|gaudi\d?).*$", re.IGNORECASE)
_MPT_DIMS: dict[str, tuple[int, int, int]] = {
    "125m": (768, 12, 12),
    "350m": (1024, 24, 16),
    "760m": (1536, 24, 12),
    "1b": (2048, 24, 16),
    "3b": (2560, 32, 20),
    "7b": (4096, 32, 32),
    "13b": (5120, 40, 40),
    "30b": (7168, 48, 56),
    "70b": (8192, 80, 64),
}
"""Width, layers and heads of llm-foundry's benchmark models (scripts/train/yamls/pretrain/mpt-*.yaml)."""


def config_of(row: Row) -> dict[str, Any]:
    """A parsed config.json for the row's model.

    Raises:
        NotExpressible: the model is not known here.
    """
    written = row.raw("model")
    if not written:
        raise NotExpressible("model is not named")
    if has(r"timm|torchvision", f"{row.source} {row.raw('framework')} {written}".casefold()):
        return _image_config(_plain(written))
    known = _mpt(written) or next((found for name in _spellings(written) if (found := _catalog(name))), None)
    if known is None:
        raise NotExpressible("model not known")
    return dict(known)


def longest_text(row: Row, config: dict[str, Any]) -> int | None:
    """Tokens that the model's table of positions holds; None where positions are computed, and for MPT, whose table is
    made for the length at hand (llm-foundry sets max_seq_len with each run)."""
    if _mpt(row.raw("model")) is not None or without_longest(config)[1] is not None:
        return None
    return max_positions(config)


def _spellings(written: str) -> list[str]:
    """Ways to read a name, the literal one first."""
    script = _SCRIPT.sub("", _SUFFIX.sub("", written))
    candidates = (written, _PARENTHESES.sub("", written).strip(), _plain(written), script)
    return list(dict.fromkeys(candidates))


def _plain(written: str) -> str:
    """A name without decoration."""
    return " ".join(_DECORATION.sub(" ", _PARENTHESES.sub(" ", written)).split())


@lru_cache(maxsize=1024)
def _catalog(name: str) -> dict[str, Any] | None:
    known = match_name(name)
    return None if known is None else dict(resolve_entry(known).config)


def _image_config(name: str) -> dict[str, Any]:
    """The catalog's config where transformers has the architecture itself, else timm's architecture of this name."""
    # `timm/resnet50.a1_in1k` names the weights behind the dot.
    name = name.strip("/ ")
    bare = name.split(".")[0]
    known = _catalog(name) or _catalog(bare)
    if known is not None:
        return dict(known)
    name = bare
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise NotExpressible("model not known")
    return {"model_type": "timm_wrapper", "architecture": name}


def _mpt(written: str) -> dict[str, Any] | None:
    """MPT as GPT-2 of the same dimensions: the same products, attention through a fused kernel as llm-foundry has."""
    match = re.fullmatch(r"mpt-(\d+[mb])", written.strip().casefold())
    if match is None or match[1] not in _MPT_DIMS:
        return None
    width, layers, heads = _MPT_DIMS[match[1]]
    return {
        "model_type": "gpt2",
        "vocab_size": 50368,
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 2048,
        "activation_function": "gelu",
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }
