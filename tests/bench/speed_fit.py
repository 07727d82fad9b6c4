"""Fit of efficiencies to measured step times: few parameters, pooled over families, robust, judged on unseen sources.

Each family's constant is the pooled one times a deviation that a prior keeps near 1, so that a family with few rows
borrows from the others. Residuals are log(predicted / measured). What is fitted is the product's own formula: a row
brings a function from efficiencies and software to seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from manager.workload.efficiencies import EFFICIENCY_NAMES, Efficiencies, Software

Array = NDArray[np.float64]
SOFTWARE_NAMES = ("moved_share", "ops_share", "attention_share")
_ROWS_OF_FULL_WEIGHT = 25
"""A source with more rows weighs no more than this many: its rows share hardware, code and mistakes."""
_ROWS_OF_A_SERIES = 60
_ROBUST_SCALE = 0.12
"""Log error beyond which a row counts linearly: conditions nobody wrote down are the likely cause."""
_DIFFERENCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Where a constant is expected before any row is seen."""

    value: float
    spread: float
    """Standard deviation of its logarithm."""
    family_spread: float
    """The same of a family's deviation from the pooled constant; 0: one constant for all."""
    highest: float = 1e9


PRIORS: dict[str, Prior] = {
    "matmul_half": Prior(value=0.88, spread=0.1, family_spread=0.07, highest=1.0),
    "matmul_tf32": Prior(value=0.85, spread=0.1, family_spread=0.15, highest=1.0),
    "matmul_fp32": Prior(value=0.75, spread=0.2, family_spread=0.3, highest=1.0),
    "attention": Prior(value=0.65, spread=0.2, family_spread=0.2, highest=1.0),
    "convolution": Prior(value=0.75, spread=0.2, family_spread=0.15, highest=1.0),
    "convolution_last": Prior(value=0.85, spread=0.15, family_spread=0.15, highest=1.0),
    "convolution_limit": Prior(value=1.0, spread=0.7, family_spread=0.0),
    "narrow_half": Prior(value=0.3, spread=0.5, family_spread=0.3, highest=1.0),
    "narrow_last": Prior(value=0.3, spread=0.5, family_spread=0.3, highest=1.0),
    "narrow_single": Prior(value=0.05, spread=0.7, family_spread=0.3, highest=1.0),
    "narrow_flops": Prior(value=0.5, spread=0.5, family_spread=0.0, highest=1.0),
    "narrow_flops_single": Prior(value=0.1, spread=0.7, family_spread=0.0, highest=1.0),
    "bandwidth": Prior(value=0.92, spread=0.03, family_spread=0.03, highest=1.0),
    "epilogue": Prior(value=10.0, spread=0.7, family_spread=0.0),
    "layout": Prior(value=1.0, spread=0.5, family_spread=0.0),
    "exposed": Prior(value=0.5, spread=0.5, family_spread=0.0, highest=1.0),
    "interference": Prior(value=0.05, spread=0.5, family_spread=0.0, highest=0.3),
    "launch_s": Prior(value=4e-6, spread=0.3, family_spread=0.1),
    "issue_s": Prior(value=25e-6, spread=0.25, family_spread=0.0),
    "issue_backward_s": Prior(value=15e-6, spread=0.25, family_spread=0.0),
    "step_s": Prior(value=6e-3, spread=0.3, family_spread=0.0),
    "tensor_s": Prior(value=20e-6, spread=0.7, family_spread=0.0),
    "copy_gb_per_second": Prior(value=6.0, spread=0.5, family_spread=0.0),
}
SOFTWARE_PRIORS: dict[tuple[str, str], Prior] = {
    ("fused", "moved_share"): Prior(value=0.5, spread=0.4, family_spread=0.0, highest=1.0),
    ("fused", "ops_share"): Prior(value=0.5, spread=0.4, family_spread=0.0, highest=1.0),
    ("fused-2023", "moved_share"): Prior(value=0.7, spread=0.3, family_spread=0.0, highest=1.0),
    ("fused-2023", "ops_share"): Prior(value=0.5, spread=0.4, family_spread=0.0, highest=1.0),
    ("fused-2023", "attention_share"): Prior(value=0.55, spread=0.15, family_spread=0.0, highest=1.0),
    ("hpu", "moved_share"): Prior(value=0.5, spread=0.4, family_spread=0.0, highest=1.0),
    ("xla", "moved_share"): Prior(value=0.5, spread=0.4, family_spread=0.0, highest=1.0),
}
BASE_SOFTWARE = {
    "eager": Software(name="eager", moved_share=1.0, ops_share=1.0),
    "fused": Software(name="fused", moved_share=0.5, ops_share=0.5),
    "fused-2023": Software(name="fused-2023", moved_share=0.7, ops_share=0.5, attention_share=0.55),
    "hpu": Software(name="hpu", moved_share=0.5, ops_share=0.0),
    "xla": Software(name="xla", moved_share=0.5, ops_share=0.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """One published measurement."""

    id: str
    source: str
    model: str
    family: str
    software: str
    measured_s: float
    seconds: Callable[[Efficiencies, Software], float]
    """The product's prediction under given constants."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Logarithms of constants."""

    pooled: dict[str, float]
    deviations: dict[tuple[str, str], float]
    """By family and name."""
    shares: dict[tuple[str, str], float]
    """By software and name."""

    def efficiencies(self, family: str) -> Efficiencies:
        """Constants of a family; the pooled ones for a family that no row had."""
        return Efficiencies(
            **{
                name: min(exp(self.pooled[name] + self.deviations.get((family, name), 0.0)), PRIORS[name].highest)
                for name in EFFICIENCY_NAMES
            }
        )

    def software(self, name: str) -> Software:
        """Shares of a software."""
        base = BASE_SOFTWARE[name]
        shares = {
            part: min(exp(self.shares[name, part]), 1.0) if (name, part) in self.shares else getattr(base, part)
            for part in SOFTWARE_NAMES
        }
        return Software(name=name, **shares)

    def predicted_s(self, row: FitRow) -> float:
        """Seconds that these constants give for a row."""
        return row.seconds(self.efficiencies(row.family), self.software(row.software))


def fit(rows: Sequence[FitRow], *, start: Fit | None = None) -> Fit:
    """Constants from rows.

    Args:
        rows: measurements.
        start: where to begin, to get there sooner; None: at the priors.
    """
    rows = _thinned(rows)
    layout = _Layout(rows)
    weights = _weights(rows)
    solution = least_squares(
        lambda theta: _residuals(rows, weights, layout, theta),
        np.zeros(layout.size) if start is None else layout.theta_of(start),
        jac=lambda theta: _jacobian(rows, weights, layout, theta),
        loss="linear",
        max_nfev=25,
        xtol=1e-4,
        ftol=1e-5,
    )
    return layout.fit_of(solution.x)


def left_out_errors(rows: Sequence[FitRow], *, group: Callable[[FitRow], str]) -> dict[str, float]:
    """log(measured / predicted) by row id, each predicted by a fit that saw no row of its group.

    Each fit begins at the priors: one that began at the fit of all rows would keep some of what it must not know.
    """
    errors: dict[str, float] = {}
    for name in sorted({group(row) for row in rows}):
        seen = [row for row in rows if group(row) != name]
        fitted = fit(seen)
        for row in rows:
            if group(row) == name:
                errors[row.id] = log(row.measured_s / fitted.predicted_s(row))
    return errors


def model_folds(rows: Sequence[FitRow], *, folds: int) -> Callable[[FitRow], str]:
    """Groups of rows such that all rows of a model in a source are in one group."""
    models = sorted({(row.source, row.model) for row in rows})
    fold = {key: str(place % folds) for place, key in enumerate(models)}
    return lambda row: fold[row.source, row.model]


class _Layout:
    """Which entry of the vector is which constant; entries are standardised deviations from the priors."""

    def __init__(self, rows: Sequence[FitRow]) -> None:
        self.families = sorted({row.family for row in rows})
        self.keys: list[tuple[str, str]] = [("*", name) for name in EFFICIENCY_NAMES]
        self.keys += [
            (family, name) for family in self.families for name in EFFICIENCY_NAMES if PRIORS[name].family_spread
        ]
        self.shares = [key for key in SOFTWARE_PRIORS if any(row.software == key[0] for row in rows)]
        self.index = {key: place for place, key in enumerate(self.keys)}
        self.share_index = {key: len(self.keys) + place for place, key in enumerate(self.shares)}
        self.size = len(self.keys) + len(self.shares)

    def fit_of(self, theta: Array) -> Fit:
        return Fit(
            pooled={
                name: log(PRIORS[name].value) + PRIORS[name].spread * theta[self.index["*", name]]
                for name in EFFICIENCY_NAMES
            },
            deviations={
                key: PRIORS[key[1]].family_spread * theta[self.index[key]] for key in self.keys if key[0] != "*"
            },
            shares={
                key: log(SOFTWARE_PRIORS[key].value) + SOFTWARE_PRIORS[key].spread * theta[self.share_index[key]]
                for key in self.shares
            },
        )

    def theta_of(self, start: Fit) -> Array:
        """The vector of a fit to other rows; 0 for what those did not have."""
        theta = np.zeros(self.size)
        for (family, name), place in self.index.items():
            prior = PRIORS[name]
            if family == "*":
                theta[place] = (start.pooled[name] - log(prior.value)) / prior.spread
            else:
                theta[place] = start.deviations.get((family, name), 0.0) / prior.family_spread
        for key, place in self.share_index.items():
            if key in start.shares:
                theta[place] = (start.shares[key] - log(SOFTWARE_PRIORS[key].value)) / SOFTWARE_PRIORS[key].spread
        return theta

    def touching(self, row: FitRow, name: str) -> list[tuple[int, float]]:
        """Entries that move one constant of a row, with the change of its logarithm per unit."""
        if name in SOFTWARE_NAMES:
            key = (row.software, name)
            return [(self.share_index[key], SOFTWARE_PRIORS[key].spread)] if key in self.share_index else []
        found = [(self.index["*", name], PRIORS[name].spread)]
        if (row.family, name) in self.index:
            found.append((self.index[row.family, name], PRIORS[name].family_spread))
        return found


def _thinned(rows: Sequence[FitRow]) -> list[FitRow]:
    """Evenly spaced rows of each series: the others say the same and cost time."""
    series: dict[tuple[str, str, str], list[FitRow]] = {}
    for row in rows:
        series.setdefault((row.source, row.family, row.software), []).append(row)
    return [
        members[place * len(members) // kept]
        for members in series.values()
        for kept in (min(len(members), _ROWS_OF_A_SERIES),)
        for place in range(kept)
    ]


def _weights(rows: Sequence[FitRow]) -> Array:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.source] = counts.get(row.source, 0) + 1
    return np.array([min(1.0, _ROWS_OF_FULL_WEIGHT / counts[row.source]) ** 0.5 for row in rows])


def _log_ratios(rows: Sequence[FitRow], fitted: Fit) -> Array:
    return np.array([log(fitted.predicted_s(row) / row.measured_s) for row in rows])


def _robust(error: Array) -> tuple[Array, Array]:
    """Pseudo-Huber residual, quadratic within the scale and linear beyond, and its slope."""
    ratio = error / _ROBUST_SCALE
    root = np.sqrt(1 + ratio**2)
    value = np.sign(ratio) * np.sqrt(2 * (root - 1))
    slope = np.where(np.abs(ratio) < 1e-6, 1.0, ratio / root / np.where(np.abs(value) < 1e-12, 1.0, value))
    return value, slope / _ROBUST_SCALE


def _residuals(rows: Sequence[FitRow], weights: Array, layout: _Layout, theta: Array) -> Array:
    value, _ = _robust(_log_ratios(rows, layout.fit_of(theta)))
    return np.concatenate([weights * value, theta])


def _jacobian(rows: Sequence[FitRow], weights: Array, layout: _Layout, theta: Array) -> Array:
    fitted = layout.fit_of(theta)
    _, slopes = _robust(_log_ratios(rows, fitted))
    jacobian = np.zeros((len(rows), layout.size))
    for place, row in enumerate(rows):
        efficiencies, software = fitted.efficiencies(row.family), fitted.software(row.software)
        base = log(row.seconds(efficiencies, software))
        for name in (*EFFICIENCY_NAMES, *SOFTWARE_NAMES):
            entries = layout.touching(row, name)
            if not entries:
                continue
            moved = _moved(row, efficiencies, software, name)
            change = (log(moved) - base) / _DIFFERENCE
            for entry, per_unit in entries:
                jacobian[place, entry] += weights[place] * slopes[place] * change * per_unit
    return np.concatenate([jacobian, np.eye(layout.size)])


def _moved(row: FitRow, efficiencies: Efficiencies, software: Software, name: str) -> float:
    factor = exp(_DIFFERENCE)
    if name in SOFTWARE_NAMES:
        shares = {key: getattr(software, key) * (factor if key == name else 1.0) for key in SOFTWARE_NAMES}
        return row.seconds(efficiencies, Software(name=software.name, **shares))
    values = {key: getattr(efficiencies, key) * (factor if key == name else 1.0) for key in EFFICIENCY_NAMES}
    return row.seconds(Efficiencies(**values), software)
