"""Names of models as people publish them (`Llama-2-7B class`, `torchvision resnet50`) to ids of the shipped table.

It answers None rather than a near miss: every word and number of the name has to be accounted for. Words that leave
the dimensions alone (`config`, `hf`, a framework's name) are dropped; usual short names (`bert-large`, `mistral-7b`)
stand in `data/model_names.csv`.
"""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from importlib.resources import files

from manager.catalog.model_table import table_names

_TOKEN = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)*")
_NOISE = frozenset({"hf", "meta", "config", "class", "model", "torchvision", "timm", "huggingface"})
"""`pt` is noise at the end alone: Gemma's pretrained weights."""
_ASIDE = re.compile(r"\s*\(([^()]*)\)")
_HARMLESS_ASIDES = re.compile(
    r"random weights|lightning|4-?bit|8-?bit|qlora|lora|sft|bf16|fp16|fp32|pretrained|huggingface|hf"
    r"|tokendrop|dropless|w/o mtp|\d\d\.\d\d|.* originally",
    re.IGNORECASE,
)
"""What a bracket may say without changing the dimensions."""
_NODES = re.compile(r"\s+\d+[- ]nodes?$", re.IGNORECASE)
_MIRRORS = frozenset({"nousresearch", "unsloth", "hf-mirror", "hugging-quants"})
"""Organizations that store others' models under their names."""
_LONGEST = 200


def match_name(text: str) -> str | None:
    """The id in the shipped table that a published name means; None when that is not certain."""
    name = text.strip()
    if not name or len(name) > _LONGEST:
        return None
    exact = _exact().get(name.casefold())
    if exact is not None:
        return exact
    bare = _without_asides(name)
    if bare is None:
        return None
    exact = _exact().get(bare.casefold())
    if exact is not None:
        return exact
    organization, _, last = bare.rpartition("/")
    found = _keys().get(_key(last))
    if found is None or not organization or organization.casefold() in _MIRRORS:
        return found
    return found if found.casefold().startswith(f"{organization.casefold()}/") else None


def _without_asides(name: str) -> str | None:
    """The name without harmless brackets and counts of nodes; None when a bracket may change the model."""
    if not all(_HARMLESS_ASIDES.fullmatch(aside.strip()) for aside in _ASIDE.findall(name)):
        return None
    bare = _NODES.sub("", _ASIDE.sub("", name)).strip()
    return None if "(" in bare or "+" in bare else bare


def _key(name: str) -> str:
    """Words and numbers without what separates them, but for two numbers in a row.

    `LLAMA3_8B`, `Meta-Llama-3-8B` and `llama 3 8b` are all `llama3-8b`; `3.8b` stays another number.
    """
    tokens = _TOKEN.findall(name.casefold())
    while tokens and tokens[-1] in {"hf", "pt", "config", "class"}:
        tokens.pop()
    key = ""
    for token in tokens:
        if token in _NOISE:
            continue
        key += f"-{token}" if key[-1:].isdigit() and token[0].isdigit() else token
    return key


@lru_cache(maxsize=1)
def _exact() -> dict[str, str]:
    """Ids, older ids and short names, case-folded."""
    found = {name.casefold(): model for name, model, _ in table_names()}
    return found | {name.casefold(): model for name, model in _short_names()}


@lru_cache(maxsize=1)
def _keys() -> dict[str, str]:
    """Keys that mean one model; one that several different configs share means none."""
    configs: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for name, model, config in table_names():
        last = name.removeprefix("config:").rpartition("/")[2]
        # `phi-1_5` is version 1.5, `LLAMA3_8B` is not 3.8.
        for key in {_key(last), _key(re.sub(r"(?<=\d)_(?=\d)", ".", last))}:
            configs.setdefault(key, set()).add(config)
            found.setdefault(key, model)
    certain = {key: model for key, model in found.items() if key and len(configs[key]) == 1}
    return certain | {_key(name): model for name, model in _short_names()}


def _short_names() -> list[tuple[str, str]]:
    text = files("manager.catalog").joinpath("data", "model_names.csv").read_text(encoding="utf-8")
    return [(row["name"], row["id"]) for row in csv.DictReader(text.splitlines())]
