"""Rates: a published speed, what it counts, whose it is and its scale ("1.2k tok/s/GPU", "250 ms/step", "3.1 it/s").

A rate in FLOP/s or as a share of a peak is none: the formula behind it is the publisher's own. Nor is one of a machine,
whose devices the row does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.bench.published.rows import Row

_SECONDS: dict[str, float] = {
    "us": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "day": 86400.0,
}
_TIME = "|".join(sorted(_SECONDS, key=len, reverse=True))
_SCALES = {
    "1000": 1e3,
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "million": 1e6,
    "b": 1e9,
    "billion": 1e9,
    "t": 1e12,
    "trillion": 1e12,
}
_SCALE = "|".join(sorted(_SCALES, key=len, reverse=True))
_FLOPS = re.compile(r"\b[tpg]?flops?\b|\b[tpg]flop|\bmfu\b|\bhfu\b|% of peak")
_COUNTED = (
    (r"micro[- ]?(batch|step|iter)", "micro-step"),
    (r"tok|\btps\b|\btgs\b", "token"),
    (r"sample|seq|sentence|quer|im(a)?g|item|example|utt|clip|frame|pair|row|prompt|document", "sample"),
    (r"step|iter|\bits?\b|batch|update", "step"),
)
_WORDS = re.compile(r"\bwords?\b|\bwps\b")
"""Of text, of which a tokenizer makes more tokens."""
_OF_A_MACHINE = re.compile(r"(/|per[- ])\s*(node|host|machine|server|instance|pod|slice)\b")
_OF_A_DEVICE = re.compile(
    r"(/|\b(per|each|a|every)[- ])\s*(gpu|chip|device|card|accelerator|rank|hpu|tpu|core|worker)|\btgs\b"
)
_STEP_TIME = re.compile(
    r"\b(step|iter\w*|batch|update)[- _]?(time|duration|latency)|\btime (per|/|of a) ?(\w+[- ])?(step|iter)"
)
_STEP_COLUMNS: tuple[tuple[str, float], ...] = (("step_time_s", 1.0), ("step_time_ms", 1e-3), ("step_time", 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A published speed."""

    value: float
    """In the row's own unit: amount a second, or seconds a step."""
    per: str
    """sample, token, step, micro-step: what is counted; seconds-step, seconds-micro-step: a duration."""
    whole_system: bool
    """Counted over all devices; False: per device."""


def rate_of(row: Row) -> Rate | None:
    """The row's speed in seconds or per second: throughput before step time, because units are named there."""
    value, unit = row.value("throughput"), row.text("throughput_unit")
    if value is not None and value > 0:
        found = _rate(value, f"{_words_of(row.text('throughput'))} {unit}".strip(), samples=row.value("n_examples"))
        if found is not None:
            return found
    for column, seconds in _STEP_COLUMNS:
        value = _clock(row.text(column)) or row.value(column)
        if value is not None and value > 0:
            if re.search(r"^(it|iter\w*|step)s? ?(/|per )", _words_of(row.text(column))):
                return Rate(value=value, per="step", whole_system=True)
            micro = re.search(r"micro[- ]?batch (iteration|step)|per micro", row.everything) is not None
            scale = _unit_seconds(_words_of(row.text(column)), seconds)
            return Rate(value=value * scale, per="seconds-micro-step" if micro else "seconds-step", whole_system=True)
    return None


def rate_refusal(row: Row) -> str:
    """Why the row's throughput cannot be read; empty where there is none. For rows whose `rate_of` is None."""
    value = row.value("throughput")
    if value is None:
        return ""
    if value <= 0:
        return "rate is not positive"
    unit = f"{_words_of(row.text('throughput'))} {row.text('throughput_unit')}".strip()
    if not unit:
        return "unit of the rate is not stated"
    if _OF_A_MACHINE.search(unit):
        return "rate of a machine whose devices are not counted"
    if re.search(r"\bepochs?\b", unit) and row.value("n_examples") is None:
        return "samples of an epoch are not stated"
    return "unit of the rate not understood"


def is_rate_in_flops(row: Row) -> bool:
    """Whether the row's only speed counts floating-point operations."""
    unit = row.text("throughput_unit")
    return bool(_FLOPS.search(unit)) or (row.value("throughput") is None and row.value("mfu_pct") is not None)


def _words_of(cell: str) -> str:
    """What a cell says beside its number ("250 ms" -> "ms")."""
    return re.sub(r"[-+~]?\d[\d,._ ]*(?:e[-+]?\d+)?(?:\s?k(?![a-z]))?", " ", cell).strip()


def _unit_seconds(words: str, otherwise: float) -> float:
    unit = re.match(rf"({_TIME})s?\b", words)
    return _SECONDS[unit[1]] if unit else otherwise


def _clock(cell: str) -> float | None:
    """Seconds of `1:20` or `1:02:03`."""
    parts = re.fullmatch(r"(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)", cell)
    return None if parts is None else int(parts[1] or 0) * 3600.0 + int(parts[2]) * 60.0 + float(parts[3])


def _rate(value: float, unit: str, *, samples: float | None = None) -> Rate | None:
    """A speed in a unit.

    Args:
        value: the number beside it.
        unit: in lower case.
        samples: of an epoch, where they are known.
    """
    if _FLOPS.search(unit) or _OF_A_MACHINE.search(unit) or _WORDS.search(unit):
        return None
    whole = not _OF_A_DEVICE.search(unit)
    if _STEP_TIME.search(unit):
        named = re.search(rf"\b({_TIME})s?\b", unit)
        return Rate(value=value * (_SECONDS[named[1]] if named else 1.0), per="seconds-step", whole_system=True)
    duration = re.match(rf"\(?({_TIME})s?\b\.?\s*(?:/|per)\s*(.*)", unit)
    if duration is None:
        counted = _counted(unit)
        if counted is None:
            return None
        return Rate(value=value * _scale(unit) / _denominator(unit), per=counted, whole_system=whole)
    seconds, each = value * _SECONDS[duration[1]], duration[2]
    if re.match(r"(an? |one )?epoch", each):
        return Rate(value=samples / seconds, per="sample", whole_system=True) if samples else None
    counted = _counted(each)
    if counted is None:
        return None
    several = re.match(r"(\d[\d,]*(?:\.\d+)?)(k?)\s", each)
    if several:
        seconds /= float(several[1].replace(",", "")) * (1e3 if several[2] else 1.0)
    if counted in ("step", "micro-step"):
        return Rate(value=seconds, per=f"seconds-{counted}", whole_system=True)
    return Rate(value=1 / seconds, per=counted, whole_system=whole)


def _counted(unit: str) -> str | None:
    """What a unit of throughput counts."""
    return next((per for pattern, per in _COUNTED if re.search(pattern, unit)), None)


def _scale(unit: str) -> float:
    """Of `k tokens/s`, `ktok/s`, `million tokens/day`, `1000 tokens/s`."""
    found = re.match(rf"({_SCALE})(?:[ -](?=tok|sample|im|seq)|(?=tok|sample|img|image))", unit)
    return _SCALES[found[1]] if found else 1.0


def _denominator(unit: str) -> float:
    found = re.search(rf"(?:/|\bper\b|\ba\b)\s*({_TIME})s?\b", unit)
    return _SECONDS[found[1]] if found else 1.0
