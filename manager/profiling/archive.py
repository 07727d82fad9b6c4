"""Traces of popular models that ship with the product, so that a first plan needs neither torch nor network.

One member per model config: lines in xz, the first a header, each other a key, a tab and a trace as
`tasks.step_trace_codec` writes it. Members are made by `make traces`; the table of models says which there are. A trace
of the archive was made with two labels, AdamW, dropout in adapters, padded batches, plain loss and the kernels that
CUDA chooses (small models also with those of a processor); `adapt` brings rank, labels and half precision to what is
asked, requests that differ otherwise have none.
"""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from manager.profiling.adapt import at_rank, in_float16, with_labels
from manager.profiling.adapt_head import SHIPPED_LABELS
from manager.profiling.effective_config import without_longest
from manager.profiling.trace_key import config_key
from tasks.job import MethodChoice
from tasks.protocol import ProtocolError
from tasks.step_trace import TRACE_VERSION, StepTrace, TraceRequest
from tasks.step_trace_codec import trace_from_json

Json = dict[str, Any]

ARCHIVE_VERSION = 1
SHIPPED_DROPOUT = 0.05
SHIPPED_PRECISIONS = ("fp32", "bf16-mixed", "bf16")
LABELLED = ("text-classification", "image-classification", "audio-classification")
_FLOAT16 = {"fp16-mixed": "bf16-mixed", "fp16": "bf16"}
_XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def shipped_trace(request: TraceRequest) -> StepTrace | None:
    """The archive's trace of a request; None where it has none. Its optimizer is `adamw` whatever was asked.

    Raises:
        ProtocolError: the member cannot be read.
    """
    if not is_shippable(request):
        return None
    member = traces_folder().joinpath(member_name(request.config))
    if not member.is_file():
        return None
    content = member.read_bytes()
    asked = json.dumps(asdict(request), sort_keys=True)
    return _trace_in(_Question(content=content, request=request, identity=(zlib.crc32(content), len(content), asked)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Question:
    """A request and the member that is to answer it; equal to another one with the same of both."""

    content: bytes
    request: TraceRequest
    identity: tuple[int, int, str]

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Question) and other.identity == self.identity


@lru_cache(maxsize=32)
def _trace_in(question: _Question) -> StepTrace | None:
    """The same question has the same trace for an answer: planners remember what they have computed of each."""
    request = question.request
    header, record = _find(question.content, shipped_key(request))
    if not _holds_at(without_longest(request.config)[1], header.get("longest")):
        return None
    return None if record is None else _adapted(trace_from_json(record), request, header)


def shipped_precisions(request: TraceRequest) -> tuple[str, ...]:
    """Precisions other than the request's in which the archive has its trace.

    Raises:
        ProtocolError: the member cannot be read.
    """
    others = [precision for precision in SHIPPED_PRECISIONS if precision != request.precision]
    return tuple(name for name in others if shipped_trace(replace(request, precision=name)) is not None)


def is_shippable(request: TraceRequest) -> bool:
    """Whether a trace of the archive can stand for this request at all."""
    method = request.method
    has_adapters = method.kind in ("lora", "qlora")
    if has_adapters and (method.lora_targets != "all-linear" or method.lora_dropout <= 0):
        return False
    plain = TraceRequest(config=request.config, task=request.task, method=MethodChoice(), precision=request.precision)
    asked = replace(
        request,
        method=plain.method,
        num_labels=plain.num_labels,
        optimizer=plain.optimizer,
        gradient_checkpointing=plain.gradient_checkpointing,
        kernels=plain.kernels,
    )
    return asked == plain


def shipped_key(request: TraceRequest) -> str:
    """The line of a member: task, method, precision, checkpointing, and `cpu` for the kernels of a processor."""
    precision = _FLOAT16.get(request.precision, request.precision)
    # Nothing in the backbone of a frozen model keeps activations, so that checkpointing changes nothing.
    is_checkpointing = request.gradient_checkpointing and request.method.kind != "frozen"
    words = [request.task, request.method.kind, precision]
    words += ["checkpointing"] if is_checkpointing else []
    words += ["cpu"] if request.kernels == "cpu" else []
    return " ".join(words)


def member_name(config: Mapping[str, Any]) -> str:
    """File of a model's member, by content of its config."""
    return f"{config.get('model_type', 'model')}-{config_key(config)}.xz"


def traces_folder() -> Traversable:
    """Where members are."""
    return files("manager.catalog").joinpath("data", "traces")


def pack_member(header: Json, traces: Mapping[str, Json]) -> bytes:
    """A member's bytes; traces by `shipped_key`."""
    lines = [_compact({"archive": ARCHIVE_VERSION, "schema": TRACE_VERSION, **header})]
    lines += [f"{key}\t{_compact(record)}" for key, record in sorted(traces.items())]
    return lzma.compress("\n".join(lines).encode(), format=lzma.FORMAT_XZ, filters=_XZ_FILTERS)


def unpack_header(content: bytes) -> Json:
    """The header of a member.

    Raises:
        ProtocolError: it is none, or of another version.
    """
    header = _header(next(_lines(content), ""))
    return header


def _holds_at(asked: int | None, longest: int | None) -> bool:
    """Whether a trace made for samples up to `longest` tokens holds where a config allows `asked`."""
    return asked is None or (longest is not None and asked <= longest)


def _find(content: bytes, key: str) -> tuple[Json, Json | None]:
    lines = _lines(content)
    header = _header(next(lines, ""))
    prefix = key + "\t"
    found = next((line for line in lines if line.startswith(prefix)), None)
    return header, None if found is None else json.loads(found[len(prefix) :])


def _lines(content: bytes) -> Iterator[str]:
    try:
        return iter(lzma.decompress(content).decode().split("\n"))
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ProtocolError(f"shipped traces cannot be read: {error}") from error


def _header(line: str) -> Json:
    try:
        header = json.loads(line)
        versions = (header["archive"], header["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"shipped traces have no header: {error!r}") from error
    if versions != (ARCHIVE_VERSION, TRACE_VERSION):
        raise ProtocolError(f"shipped traces are of version {versions}")
    return dict(header)


def _adapted(trace: StepTrace, request: TraceRequest, header: Json) -> StepTrace:
    if request.method.kind in ("lora", "qlora"):
        trace = at_rank(trace, request.method.lora_rank)
    if request.task in LABELLED and request.num_labels != SHIPPED_LABELS:
        per_label = header["per_label"][request.task]
        trace = with_labels(
            trace, more=request.num_labels - SHIPPED_LABELS, elements=per_label["elements"], width=per_label["width"]
        )
    return in_float16(trace, request.precision) if request.precision in _FLOAT16 else trace


def _compact(record: Json) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
