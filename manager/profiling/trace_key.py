"""What a trace depends on: requests that differ in nothing else have the same key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from manager.profiling.effective_config import effective_config, without_longest
from tasks import step_trace
from tasks.step_trace import TRACE_VERSION, TRACED_WITH, TraceRequest

_KEY_LENGTH = 24
_STEP_PROGRAMS = ("methods", "losses", "optimizers", "quantized", "step", "unfreezing")
"""Of the trainer, whose steps the tracer runs."""


def config_key(config: Mapping[str, Any]) -> str:
    """A name for the model: equal for configs that differ in nothing that a step of a given length depends on."""
    return _digest(without_longest(config)[0])


def trace_key(request: TraceRequest) -> str:
    """A name for the answer, with the versions of the libraries that trace and the tracer's own sources."""
    from importlib.metadata import PackageNotFoundError, version  # A plan from a shipped trace does not need it.

    versions: dict[str, str | None] = {}
    for name in TRACED_WITH:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    record = {**asdict(request), "config": effective_config(request.config), "method": effective_method(request)}
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


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]
