"""What a trace depends on: requests that differ in nothing else have the same key.

Fields of a config that say who made it, how it is stored, what its labels are called or which constants its layers use
change no step; fields at their default say nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from manager.catalog.config_defaults import defaults_of
from tasks import step_trace
from tasks.step_trace import TRACE_VERSION, TRACED_WITH, TraceRequest

_WITHOUT_EFFECT = frozenset(
    (
        "_name_or_path",
        "architectures",
        "attn_implementation",
        "dtype",
        "eos_token_id",
        "bos_token_id",
        "finetuning_task",
        "id2label",
        "initializer_range",
        "label2id",
        "problem_type",
        "task_specific_params",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    )
)
_WITHOUT_EFFECT_ENDINGS = (
    "_eps",
    "_epsilon",
    "_token_id",
    "_token_ids",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
)
_KEY_LENGTH = 24
_STEP_PROGRAMS = ("methods", "losses", "optimizers", "quantized", "step", "unfreezing")
"""Of the trainer, whose steps the tracer runs."""


def config_key(config: Mapping[str, Any]) -> str:
    """A name for the model: equal for configs that differ in nothing that a step depends on."""
    return _digest(_effective(config))


def trace_key(request: TraceRequest) -> str:
    """A name for the answer, with the versions of the libraries that trace and the tracer's own sources."""
    from importlib.metadata import PackageNotFoundError, version  # A plan from a shipped trace does not need it.

    versions: dict[str, str | None] = {}
    for name in TRACED_WITH:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    record = {**asdict(request), "config": _effective(request.config), "method": effective_method(request)}
    return _digest({"schema": TRACE_VERSION, "versions": versions, "tracer": tracer_digest(), "request": record})


@lru_cache(maxsize=1)
def tracer_digest() -> str:
    """A hash of the programs that make a trace: one that was kept from before they changed does not count."""
    folder = Path(step_trace.__file__).parent
    digest = hashlib.sha256()
    for file in (*sorted((folder / "tracing").glob("*.py")), *(folder / f"{name}.py" for name in _STEP_PROGRAMS)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def effective_method(request: TraceRequest) -> dict[str, Any]:
    """The method without what has no bearing: LoRA's fields without LoRA, its scale, the rate of its dropout."""
    method = request.method
    record = asdict(method)
    adapters = {name: record.pop(name) for name in tuple(record) if name.startswith("lora_")}
    if method.kind not in ("lora", "qlora"):
        return record
    return {
        **record,
        "lora_rank": adapters["lora_rank"],
        "lora_targets": adapters["lora_targets"],
        "has_dropout": method.lora_dropout > 0,
    }


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    model_type = str(config.get("model_type", ""))
    return {"model_type": model_type, **_without(config, defaults_of(model_type))}


def _without(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults and has a bearing on the step."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        default = defaults.get(name)
        if name in _WITHOUT_EFFECT or name.endswith(_WITHOUT_EFFECT_ENDINGS):
            continue
        if name in defaults and value == default:
            continue
        if isinstance(value, Mapping):
            own = defaults_of(str(value.get("model_type", "")))
            inner = _without(value, default if isinstance(default, Mapping) else own)
            if not inner:
                continue
            found[name] = inner
        elif value is not None or name in defaults:
            found[name] = value
    return found


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]
