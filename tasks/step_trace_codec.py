"""TraceRequest and StepTrace as JSON: what goes to the tracing process, comes back, and is shipped.

Standard library only, since the manager reads traces and loads no training library. A polynomial is written as a flat
list of monomial numbers (places in MONOMIALS) and coefficients; zeros are left out. Unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from tasks.job import MethodChoice
from tasks.protocol import ProtocolError
from tasks.step_trace import (
    MONOMIALS,
    TRACE_VERSION,
    MemoryPoint,
    OpGroup,
    Polynomial,
    ReservePoint,
    StepTrace,
    TensorSums,
    TraceRequest,
)

T = TypeVar("T")
Json = dict[str, Any]

_PLAIN: dict[str, type] = {"int": int, "str": str, "bool": bool}
"""Types of fields, as they are written, that a value must have exactly."""
_POLYNOMIALS = ("weights_bytes", "optimizer_state_bytes", "layer_activation_bytes")
_RARE = ("two_points", "image_tokens")
"""Fields that are written where they say something only: few traces have them."""


def request_to_json(request: TraceRequest) -> Json:
    """All fields, nested as they are."""
    return asdict(request)


def request_from_json(record: Mapping[str, Any]) -> TraceRequest:
    """The request.

    Raises:
        ProtocolError: an unknown or missing key.
    """
    values = dict(record)
    method = _strict(MethodChoice, values.pop("method", {}))
    values["deviations"] = tuple(values.get("deviations", ()))
    return _strict(TraceRequest, {**values, "method": method})


def trace_to_json(trace: StepTrace) -> Json:
    """The trace, with the version of its format under `schema`."""
    plain = {part.name: getattr(trace, part.name) for part in fields(StepTrace)}
    plain = {name: value for name, value in plain.items() if value or name not in _RARE}
    later = _flat_ops(plain.pop("later_slices"))
    return {
        "schema": TRACE_VERSION,
        **plain,
        **{name: _flat(plain[name]) for name in _POLYNOMIALS},
        "trainable": asdict(trace.trainable),
        "memory": [[point.phase, {name: _flat(line) for name, line in point.lines.items()}] for point in trace.memory],
        "ops": _flat_ops(trace.ops),
        "reserve": [[at.batch, at.length, at.cached_bytes, at.held_bytes] for at in trace.reserve],
        "notes": list(trace.notes),
        **({"later_slices": later} if later else {}),
    }


def trace_from_json(record: Mapping[str, Any]) -> StepTrace:
    """The trace.

    Raises:
        ProtocolError: another version of the format, an unknown or missing key, or a value that is none.
    """
    values = dict(record)
    if (schema := values.pop("schema", None)) != TRACE_VERSION:
        raise ProtocolError(f"trace is of schema {schema}, not {TRACE_VERSION}")
    try:
        values.update({name: _polynomial(values[name]) for name in _POLYNOMIALS})
        values["trainable"] = _strict(TensorSums, values["trainable"])
        values["memory"] = tuple(
            MemoryPoint(phase=phase, lines={name: _polynomial(line) for name, line in lines.items()})
            for phase, lines in values["memory"]
        )
        values["ops"] = _ops(values["ops"])
        values["later_slices"] = _ops(values.get("later_slices", ()))
        values["reserve"] = tuple(
            ReservePoint(batch=batch, length=length, cached_bytes=cached, held_bytes=held)
            for batch, length, cached, held in values.get("reserve", ())
        )
        values["notes"] = tuple(values["notes"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ProtocolError(f"trace cannot be read: {error!r}") from error
    return _strict(StepTrace, values)


def _flat_ops(ops: Iterable[OpGroup]) -> list[list[Any]]:
    return [[op.phase, op.kind, op.dtype, op.count, _flat(op.flops), _flat(op.bytes)] for op in ops]


def _ops(flat: Iterable[list[Any]]) -> tuple[OpGroup, ...]:
    return tuple(
        OpGroup(phase=phase, kind=kind, dtype=dtype, count=count, flops=_polynomial(flops), bytes=_polynomial(moved))
        for phase, kind, dtype, count, flops, moved in flat
    )


def _flat(polynomial: Polynomial) -> list[float]:
    flat: list[float] = []
    for name, value in polynomial.items():
        flat += (MONOMIALS.index(name), int(value) if float(value).is_integer() else value)
    return flat


def _polynomial(flat: list[float]) -> Polynomial:
    return {MONOMIALS[int(at)]: float(value) for at, value in zip(flat[::2], flat[1::2], strict=True)}


def _strict(cls: type[T], values: Mapping[str, Any]) -> T:
    known = {part.name for part in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ProtocolError(f"unknown key in {cls.__name__}: {', '.join(unknown)}")
    for part in fields(cls):  # type: ignore[arg-type]
        wanted = _PLAIN.get(str(part.type))
        # A bool is an int to Python and no count to us.
        if wanted is not None and part.name in values and type(values[part.name]) is not wanted:
            raise ProtocolError(f"{cls.__name__}.{part.name} is {values[part.name]!r}, not {wanted.__name__}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ProtocolError(f"{cls.__name__} is incomplete: {error}") from error
