"""Traces: the product's own trace of a request, kept on disk by content so that a second run is fast.

Owns the cache of the bench; entries are named by the request and by the code that traces. Tracing loads torch, so it is
imported only when an entry is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

from platformdirs import user_cache_dir

from tasks.step_trace import StepTrace, TraceRequest
from tasks.step_trace_codec import request_to_json, trace_from_json, trace_to_json
from tests.bench.published.timm_archive import NOT_INSTALLED, archived, is_of_timm, timm_is_there

_PACKAGES = ("torch", "transformers", "peft", "timm")
_TASKS_OF_A_PROCESS = 40
_CODE = Path(__file__).resolve().parents[3] / "tasks"


@dataclass(slots=True, kw_only=True)
class Traces:
    """Answers for requests, from the disk where they are there."""

    folder: Path
    workers: int = 1
    tell: Callable[[str], None] | None = None
    """Told which recipe is being traced."""
    _known: dict[str, StepTrace | str] = field(default_factory=dict)
    _done: int = 0
    _total: int = 0

    def prepare(self, requests: Iterable[TraceRequest]) -> None:
        """Trace what is missing, in processes of their own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = {key_of(request): request for request in requests if self._answer(request) is None}
        texts = {key: json.dumps(request_to_json(request)) for key, request in missing.items()}
        if not texts:
            return
        self._done, self._total = 0, len(texts)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Processes that traced many models are large; `max_tasks_per_child` ends them too, but hangs in Python 3.11.
        for chunk in _chunks(texts.items(), _TASKS_OF_A_PROCESS * self.workers):
            try:
                self._trace(chunk)
            except BrokenProcessPool:
                # One of them asked for more than the machine has: each of the rest by itself.
                for key in [key for key in chunk if not self._path(key).exists()]:
                    with contextlib.suppress(BrokenProcessPool):
                        self._trace({key: chunk[key]})

    def _trace(self, texts: dict[str, str]) -> None:
        with ProcessPoolExecutor(max_workers=self.workers, mp_context=get_context("spawn")) as pool:
            self._say()
            for key, answer in zip(texts, pool.map(traced, texts.values()), strict=True):
                part = self._path(key).with_suffix(".part")
                part.write_text(answer, encoding="utf-8")
                part.replace(self._path(key))
                self._done += 1
                self._say()

    def _say(self) -> None:
        if self.tell is not None and self._done < self._total:
            self.tell(f"tracing {self._done + 1} of {self._total} recipes")

    def trace(self, request: TraceRequest) -> StepTrace | str:
        """The trace of a prepared request, or why the tracer refuses it."""
        key = key_of(request)
        if key not in self._known:
            record = json.loads(self._answer(request) or _refused("the process that traced it died"))
            self._known[key] = str(record["refused"]) if "refused" in record else trace_from_json(record)
        return self._known[key]

    def _answer(self, request: TraceRequest) -> str | None:
        """What is known of a request; None where it has to be traced."""
        path = self._path(key_of(request))
        if path.exists():
            return path.read_text(encoding="utf-8")
        if not is_of_timm(request) or timm_is_there():
            return None
        return archived(request) or json.dumps({"refused": NOT_INSTALLED})

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _chunks(items: Iterable[tuple[str, str]], size: int) -> Iterator[dict[str, str]]:
    left = iter(items)
    while chunk := dict(islice(left, size)):
        yield chunk


def traced(request_text: str) -> str:
    """JSON of the trace of a request's JSON; a refusal is an answer too."""
    _prepare_torchvision()
    from tasks.failures import TaskError
    from tasks.step_trace_codec import request_from_json
    from tasks.tracing.fit import trace_step
    from tasks.tracing.models import read_config
    from tasks.tracing.refusal import RefusedModel
    from tasks.tracing.traced_step import record_step

    request = request_from_json(json.loads(request_text))
    try:
        if is_of_timm(request):
            with contextlib.suppress(ImportError):
                # A switch of timm's, not of the config.
                import_module("timm.layers").set_fused_attn(request.attention != "eager")
        config = read_config(request).to_dict()
        return json.dumps(trace_to_json(trace_step(request, config=config, record=record_step)))
    except (RefusedModel, TaskError, ImportError) as error:
        return _refused(str(error))
    except Exception as error:  # Models fail in any way; a bench names the row and goes on.
        return _refused(f"{type(error).__name__}: {error}")


def _refused(why: str) -> str:
    if "in your version of timm" in why or "Invalid pretrained tag" in why:
        why = "timm of today has no model of this name"
    return json.dumps({"refused": f"not traced: {(why.splitlines() or [''])[0]}"[:160]})


def _prepare_torchvision() -> None:
    """timm and transformers import it for images; wheels that do not match torch fail where they register operators."""
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))


def default_folder() -> Path:
    """Where traces are kept unless the caller says otherwise."""
    return Path(user_cache_dir("tunefare")) / "bench-traces"


def key_of(request: TraceRequest) -> str:
    """Name of a cache entry."""
    text = json.dumps(request_to_json(request), sort_keys=True) + _tracer()
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _tracer() -> str:
    """Fingerprint of the code that traces and of the libraries whose code is traced."""
    digest = hashlib.sha256()
    files = [*sorted((_CODE / "tracing").glob("*.py")), _CODE / "step_trace.py", _CODE / "optimizers.py"]
    for path in files:
        digest.update(path.read_bytes())
    for name in _PACKAGES:
        try:
            digest.update(f"{name}=={version(name)}".encode())
        except PackageNotFoundError:
            digest.update(f"{name} missing".encode())
    return digest.hexdigest()
