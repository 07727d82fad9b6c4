"""Archive: traces of published rows of timm's models, for machines without timm.

One file of lines in xz, `tables/timm_traces.xz`: a header, then a request's name, a tab and a trace (or why there is
none) as the cache of the bench holds it. `tests/bench/make_timm_traces.py` makes it. An archive of another version of
the format of traces counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.step_trace import TRACE_VERSION, TraceRequest
from tasks.step_trace_codec import request_to_json

FILE = Path(__file__).resolve().parents[1] / "tables" / "timm_traces.xz"
NOT_INSTALLED = "image model that only timm has, and timm is not installed (--timm installs it aside)"


def is_of_timm(request: TraceRequest) -> bool:
    """Whether timm's code is needed for a request."""
    return request.config.get("model_type") == "timm_wrapper"


def timm_is_there() -> bool:
    """Whether timm can be imported; it reads its data through torchvision, whose binary part it does not need."""
    return find_spec("timm") is not None and find_spec("torchvision") is not None


def archived(request: TraceRequest) -> str | None:
    """The archive's answer for a request, as JSON; None where it has none."""
    return _answers().get(name_of(request))


def name_of(request: TraceRequest) -> str:
    """Name of a request, whatever traces it."""
    return hashlib.sha256(json.dumps(request_to_json(request), sort_keys=True).encode()).hexdigest()[:24]


def write(answers: Mapping[str, str], versions: Mapping[str, str], file: Path = FILE) -> int:
    """Write an archive of answers by `name_of`; returns its bytes."""
    header = json.dumps({"schema": TRACE_VERSION, "versions": dict(versions)})
    lines = [header, *(f"{name}\t{text}" for name, text in sorted(answers.items(), key=lambda pair: pair[1]))]
    return file.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))


@lru_cache(maxsize=1)
def _answers() -> dict[str, str]:
    if not FILE.exists():
        return {}
    header, *lines = lzma.decompress(FILE.read_bytes()).decode().split("\n")
    stated: dict[str, Any] = json.loads(header)
    if stated["schema"] != TRACE_VERSION:
        return {}
    return dict(line.split("\t", 1) for line in lines)
