"""The fit as the product's dated tables: constants by family, shares by software, bands from errors on unseen rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from math import exp
from pathlib import Path

import numpy as np

from manager.workload.efficiencies import EFFICIENCY_NAMES, POOLED
from manager.workload.speed import CPU_FAMILY
from tests.bench.speed_fit import BASE_SOFTWARE, Fit, FitRow

_FEWEST_FOR_A_BAND = 8
"""Rows; below, the band is that of the software over all families."""
_NARROWEST = 0.05
_ROWS_THAT_COUNT = 20
"""Of one source in a band: its rows err together."""
_UNSEEN_FAMILY_FACTOR = 1.25
"""Assumption: how much wider than the widest measured band that of a family without rows is, as its architecture adds
an error that no row can show."""
_OTHER_KERNELS = ("cdna", "gaudi", "tpu", "trainium")
"""Families whose kernels and compilers are other makers': nothing measured on CUDA devices is about those."""
_OTHER_KERNELS_FACTOR = 1.5
"""Assumption: the same for them; a whole step's share of the peak differs that much among software on one device."""
_MEASURED = "measured over predicted step times, half by a fit without the source, half by one without the model"
Errors = Mapping[str, float]
"""log(measured / predicted) by row id."""


def write_tables(
    fitted: Fit, rows: Sequence[FitRow], errors: Errors, unseen_models: Errors, folder: Path, *, as_of: str
) -> None:
    """Write `speeds.csv`, `speed_software.csv` and `speed_bands.csv`.

    Args:
        fitted: constants from all rows.
        rows: that were fitted.
        errors: of each row, under a fit that had not seen its source.
        unseen_models: of each row, under a fit that had not seen its model in its source.
        folder: into which the tables are written.
        as_of: ISO date of the fit.
    """
    families = sorted({row.family for row in rows})
    speeds = [
        _speed_line(fitted, family, _of_family(rows, family), errors, as_of=as_of) for family in (POOLED, *families)
    ]
    _write(folder / "speeds.csv", [*speeds, _cpu_line(speeds[0], as_of=as_of)])
    _write(folder / "speed_software.csv", [_software_line(fitted, name, rows, as_of=as_of) for name in BASE_SOFTWARE])
    _write(folder / "speed_bands.csv", list(_band_lines(rows, (errors, unseen_models), families, as_of=as_of)))


def relative_errors(rows: Sequence[FitRow], errors: Errors) -> tuple[float, float, float]:
    """Median, 90th percentile and largest of |predicted - measured| / measured."""
    shares = [abs(exp(-errors[row.id]) - 1) for row in rows]
    return float(np.median(shares)), float(np.quantile(shares, 0.9)), max(shares)


def error_table(rows: Sequence[FitRow], errors: Errors, *, group: Callable[[FitRow], str]) -> str:
    """Rows, median, 90th percentile and worst error and the median of predicted over measured, for people."""
    lines = [f"{'':44} {'rows':>5} {'median':>7} {'p90':>7} {'worst':>7} {'pred/meas':>9}"]
    for name in sorted({group(row) for row in rows}):
        members = [row for row in rows if group(row) == name]
        median, high, worst = relative_errors(members, errors)
        bias = exp(-float(np.median([errors[row.id] for row in members])))
        lines.append(f"{name[:44]:44} {len(members):5} {median:7.1%} {high:7.1%} {worst:7.1%} {bias:9.2f}")
    return "\n".join(lines)


def _of_family(rows: Sequence[FitRow], family: str) -> list[FitRow]:
    return [row for row in rows if family in (POOLED, row.family)]


def _speed_line(
    fitted: Fit, family: str, members: Sequence[FitRow], errors: Errors, *, as_of: str
) -> dict[str, object]:
    values = fitted.efficiencies(family)
    line: dict[str, object] = {"family": family}
    for name in EFFICIENCY_NAMES:
        value = getattr(values, name)
        line[name.removesuffix("_s") + "_us" if name.endswith("_s") else name] = (
            f"{value * 1e6:.3g}" if name.endswith("_s") else f"{value:.3f}"
        )
    median, high, _ = relative_errors(members, errors)
    sources = sorted({row.source for row in members})
    shown = "pooled over all families" if family == POOLED else "; ".join(sources)
    return line | {
        "rows": len(members),
        "sources": len(sources),
        "error_median": f"{median:.3f}",
        "error_p90": f"{high:.3f}",
        "as_of": as_of,
        "source": f"fit to published step times ({shown})",
    }


def _cpu_line(pooled: Mapping[str, object], *, as_of: str) -> dict[str, object]:
    """A processor issues and computes an op in one: no op overlaps with the next, and none waits for a host."""
    own: dict[str, object] = {
        "launch_us": "8",
        "issue_us": "0",
        "issue_backward_us": "0",
        "step_us": "1000",
        "tensor_us": "0",
    }
    own |= {"rows": 0, "sources": 0}
    none = {"error_median": "", "error_p90": "", "as_of": as_of}
    source = "assumption: an op of PyTorch on a CPU costs about 8 us before it computes"
    return {**pooled, "family": CPU_FAMILY, **own, **none, "source": source}


def _software_line(fitted: Fit, name: str, rows: Sequence[FitRow], *, as_of: str) -> dict[str, object]:
    shares = fitted.software(name)
    count = sum(row.software == name for row in rows)
    source = "by definition: the trace is of eager code" if name == "eager" else "fit to published step times"
    if not count and name != "eager":
        source = "assumption: no rows"
    return {
        "name": name,
        "moved_share": f"{shares.moved_share:.3f}",
        "ops_share": f"{shares.ops_share:.3f}",
        "attention_share": f"{shares.attention_share:.3f}",
        "rows": count,
        "as_of": as_of,
        "source": source,
    }


def _band_lines(
    rows: Sequence[FitRow], errors: Sequence[Errors], families: Sequence[str], *, as_of: str
) -> list[dict[str, object]]:
    software = sorted({row.software for row in rows})
    measured: dict[tuple[str, str], tuple[float, float]] = {}
    members: dict[tuple[str, str], list[FitRow]] = {}
    for key in [(family, name) for family in (POOLED, *families) for name in (POOLED, *software)]:
        like = [row for row in _of_family(rows, key[0]) if key[0] != POOLED or row.family not in _OTHER_KERNELS]
        members[key] = [row for row in like if key[1] in (POOLED, row.software)]
        if len(members[key]) >= _FEWEST_FOR_A_BAND:
            low, high = _quantiles(members[key], errors)
            measured[key] = min(low, 1 - _NARROWEST), max(high, 1 + _NARROWEST)
    lines = []
    for key, (low, high) in measured.items():
        source = f"{_MEASURED}; at least 1 +- {_NARROWEST:g}"
        if key[0] == POOLED:
            ours = {name: band for name, band in measured.items() if name[0] not in _OTHER_KERNELS}
            low, high = _widest(ours, key[1], by=_UNSEEN_FAMILY_FACTOR)
            source = f"assumption: no rows, so the widest measured band {_UNSEEN_FAMILY_FACTOR:g} times as wide"
        elif key[1] == POOLED and key[0] not in _OTHER_KERNELS:
            continue
        lines.append(_band_line(key, low, high, members[key], source, as_of=as_of))
    low, high = _widest(measured, POOLED, by=_OTHER_KERNELS_FACTOR)
    source = f"assumption: kernels of another maker, so the widest band {_OTHER_KERNELS_FACTOR:g} times as wide"
    others = [(family, POOLED) for family in _OTHER_KERNELS if family not in families]
    others += [(POOLED, name) for name in BASE_SOFTWARE if not members.get((POOLED, name))]
    return lines + [_band_line(key, low, high, (), source, as_of=as_of) for key in others]


def _widest(
    measured: Mapping[tuple[str, str], tuple[float, float]], software: str, *, by: float
) -> tuple[float, float]:
    """The ends of all measured bands of a software (POOLED: of all), further away from 1."""
    bands = [band for key, band in measured.items() if software in (POOLED, key[1])]
    return min(low for low, _ in bands) / by, max(high for _, high in bands) * by


def _band_line(
    key: tuple[str, str], low: float, high: float, members: Sequence[FitRow], source: str, *, as_of: str
) -> dict[str, object]:
    return {
        "family": key[0],
        "software": key[1],
        "low": f"{low:.3f}",
        "high": f"{high:.3f}",
        "rows": len(members),
        "sources": len({row.source for row in members}),
        "as_of": as_of,
        "source": source,
    }


def _quantiles(rows: Sequence[FitRow], errors: Sequence[Errors]) -> tuple[float, float]:
    """10th and 90th percentile of measured over predicted; a source with many rows counts as one with a few.

    What a plan meets lies between the two kinds of errors: its accelerator is one that the fit has seen or not, its
    model and the person's program are not among the rows.
    """
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.source] = counts.get(row.source, 0) + 1
    weights = [min(1.0, _ROWS_THAT_COUNT / counts[row.source]) for row in rows]
    whole = sum(weights) * len(errors)
    ordered = sorted(
        (found[row.id], weight / whole) for found in errors for row, weight in zip(rows, weights, strict=True)
    )
    return _at(ordered, 0.1), _at(ordered, 0.9)


def _at(ordered: Sequence[tuple[float, float]], share: float) -> float:
    passed = 0.0
    for error, weight in ordered:
        passed += weight
        if passed >= share - 1e-9:
            return exp(error)
    return exp(ordered[-1][0])


def _write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
