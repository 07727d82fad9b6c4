"""A data set for a person to look at, before any plan: first samples, whole lengths, labels by number.

The worker answers (`tasks.previewing`) where its libraries are, with the model's own tokenizer where that lies here;
else local text files are counted with the standard library, and the basis says so. Nothing is downloaded here that a
measurement of the same data would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.errors import DataError
from manager.profiling.cache import load_answer, measurement_key, store_answer
from manager.profiling.measure import check_data_path, worker_can_run
from manager.profiling.tokenizer import tokenizer_folder
from manager.profiling.worker import ask_worker, worker_request
from manager.spec.model import RunSpec
from tasks.sample_units import CHARACTERS_PER_TOKEN

_BINS = 20
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_LONGEST_DRAWN = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A bar of a histogram."""

    low: float
    high: float
    """Of the last bin: all that is longer is in it too."""
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthFigures:
    """How long samples are, before anything is cut."""

    unit: str
    """tokens, pixels of the longer edge, or seconds."""
    samples: int
    """Whose lengths were taken."""
    mean: float
    quantiles: tuple[tuple[float, float], ...]
    """Share of the samples, and the length that so many do not exceed; the last is the longest."""
    bins: tuple[Bin, ...]
    max_length: int | None
    """Where training cuts; None: it cuts nothing."""
    over_max_length: float | None
    """Share of the samples that are longer, 0 to 1; None where nothing is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPreview:
    """What a person wants to see of a data set."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first training samples, a text for each column."""
    train_samples: int
    validation_samples: int
    test_samples: int
    bytes: int
    """Size of the source."""
    labels: tuple[tuple[str, int], ...] | None
    """Name and number of samples, most first; None: samples have no labels."""
    lengths: LengthFigures
    basis: str
    """How lengths came about."""
    is_measured: bool
    """False: lengths are estimated."""
    warnings: tuple[str, ...]


def data_preview(spec: RunSpec, *, rows: int, cache_dir: Path, timeout_s: float) -> DataPreview:
    """The first samples of a data set, its size, lengths and labels.

    Args:
        spec: the run.
        rows: samples to show.
        cache_dir: folder of answers of earlier calls; created when missing.
        timeout_s: longest time that the worker may take, in seconds.

    Raises:
        DataError: the data cannot be used as asked, or nothing can be known of it here.
    """
    check_data_path(spec.data.source)
    if not worker_can_run():
        return _counted(spec, rows)
    folder = tokenizer_folder(spec.model.source, spec.model.revision)
    request = {**worker_request(spec, model_folder=folder), "preview_rows": rows}
    key = measurement_key(request, model_folder=folder)
    answer = load_answer(cache_dir, key)
    if answer is None:
        answer = ask_worker(request, timeout_s=timeout_s)
        store_answer(cache_dir, key, answer)
    try:
        return _from_answer(spec, answer)
    except (KeyError, TypeError, ValueError) as error:
        message = f"the measuring worker's answer is incomplete: {error!r}"
        raise DataError(message, hint="install tunefare again") from error


def _from_answer(spec: RunSpec, answer: dict[str, Any]) -> DataPreview:
    lengths = answer["lengths"]
    edges, counts = lengths["edges"], lengths["counts"]
    labels = sorted(answer["label_counts"].items(), key=lambda one: (-one[1], one[0]))
    return DataPreview(
        source=spec.data.source,
        columns=tuple(answer["columns"]),
        rows=tuple(tuple(str(cell) for cell in row) for row in answer["rows"]),
        train_samples=int(answer["train_samples"]),
        validation_samples=int(answer["validation_samples"]),
        test_samples=int(answer["test_samples"]),
        bytes=int(answer["bytes"]),
        labels=tuple((str(name), int(count)) for name, count in labels) if answer["labels"] else None,
        lengths=LengthFigures(
            unit=str(lengths["unit"]),
            samples=int(lengths["samples"]),
            mean=float(lengths["mean"]),
            quantiles=tuple((float(share), float(value)) for share, value in lengths["quantiles"]),
            bins=_bins(edges, counts),
            max_length=None if lengths["over_max_length"] is None else spec.training.max_length,
            over_max_length=lengths["over_max_length"],
        ),
        basis=str(answer["basis"]),
        is_measured=bool(answer["measured"]),
        warnings=tuple(str(warning["message"]).rstrip(".") for warning in answer["warnings"]),
    )


def _bins(edges: list[float], counts: list[int]) -> tuple[Bin, ...]:
    return tuple(
        Bin(low=low, high=high, samples=count) for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )


def _counted(spec: RunSpec, rows: int) -> DataPreview:
    from manager.profiling.counting import count_to_show  # Deferred: where the worker runs, nothing is counted here.

    found = count_to_show(spec, rows=rows)
    train, validation, test = found.samples
    return DataPreview(
        source=spec.data.source,
        columns=found.columns,
        rows=found.rows,
        train_samples=train,
        validation_samples=validation,
        test_samples=test,
        bytes=found.bytes,
        labels=tuple(found.labels.most_common()) or None,
        lengths=_length_figures(sorted(found.tokens), spec.training.max_length),
        basis=f"all {len(found.tokens):,} rows counted, held-out ones too; tokens estimated at "
        f"{CHARACTERS_PER_TOKEN:g} characters each, tunefare[local] measures",
        is_measured=False,
        warnings=(),
    )


def _length_figures(ordered: list[int], max_length: int) -> LengthFigures:
    """Of lengths in order, at least one."""

    def at(share: float) -> int:
        return ordered[round(share * (len(ordered) - 1))]

    low, high = float(ordered[0]), float(max(at(_LONGEST_DRAWN), ordered[0] + 1))
    width = (high - low) / _BINS
    counts = [0] * _BINS
    for length in ordered:
        counts[min(int((length - low) / width), _BINS - 1)] += 1
    return LengthFigures(
        unit="tokens",
        samples=len(ordered),
        mean=sum(ordered) / len(ordered),
        quantiles=tuple((share, float(at(share))) for share in _SHARES),
        bins=_bins([low + number * width for number in range(_BINS + 1)], counts),
        max_length=max_length,
        over_max_length=sum(length > max_length for length in ordered) / len(ordered),
    )
