"""A data set in words and bars: the same on the command line, in the form and in the dialog that shows it."""

from __future__ import annotations

from collections.abc import Iterator

from manager.service.data_preview import DataPreview
from manager.units import format_bytes

_BARS = 10
_BAR_CELLS = 24
_MOST_LABELS = 12


def summary(preview: DataPreview) -> str:
    """One or two short sentences for the form."""
    lengths = preview.lengths
    at = dict(lengths.quantiles)
    rows = preview.train_samples + preview.validation_samples + preview.test_samples
    parts = [f"{rows:,} samples"]
    if preview.labels is not None:
        counts = [count for _, count in preview.labels]
        least = "" if min(counts) == max(counts) else f"{min(counts):,} to "
        parts.append(f"{len(counts)} labels, {least}{max(counts):,} each")
    about = "" if preview.is_measured else "about "
    parts.append(f"half up to {about}{at[0.5]:,.4g} {lengths.unit}, longest {at[1.0]:,.4g}")
    if lengths.over_max_length:
        parts.append(f"{lengths.over_max_length:.1%} cut at {lengths.max_length:,}")
    return " · ".join(parts)


def sizes(preview: DataPreview) -> str:
    """The three sets and the size of the source."""
    return (
        f"{preview.train_samples:,} training · {preview.validation_samples:,} validation · "
        f"{preview.test_samples:,} test samples · {format_bytes(preview.bytes)}"
    )


def length_sentences(preview: DataPreview) -> Iterator[str]:
    """Quantiles, what is cut, and how it is known."""
    lengths = preview.lengths
    shown = ", ".join(f"{share:.0%} up to {value:,.4g}" for share, value in lengths.quantiles if 0.4 < share < 1)
    longest = lengths.quantiles[-1][1]
    yield f"lengths in {lengths.unit}: mean {lengths.mean:,.1f}, {shown}, longest {longest:,.4g}"
    if lengths.over_max_length is not None:
        yield f"{lengths.over_max_length:.1%} of the samples are longer than max_length {lengths.max_length:,}"
    yield f"basis: {preview.basis}"


def length_bars(preview: DataPreview) -> Iterator[str]:
    """The histogram of lengths."""
    bins = preview.lengths.bins
    step = max(1, -(-len(bins) // _BARS))
    groups = [bins[at : at + step] for at in range(0, len(bins), step)]
    most = max(sum(one.samples for one in group) for group in groups)
    for number, group in enumerate(groups):
        count = sum(one.samples for one in group)
        end = f"{group[-1].high:,.0f}" if number < len(groups) - 1 else "longest"
        yield f"{group[0].low:>8,.0f} - {end:<8} {_bar(count, most)} {count:,}"


def label_lines(preview: DataPreview) -> Iterator[str]:
    """Each label with its share, the most frequent first."""
    if preview.labels is None:
        return
    counts = [count for _, count in preview.labels]
    width = min(24, max(len(name) for name, _ in preview.labels[:_MOST_LABELS]))
    for name, count in preview.labels[:_MOST_LABELS]:
        shown = name if len(name) <= width else f"{name[: width - 1]}…"
        yield f"{shown:<{width}} {count / sum(counts):>6.1%} {_bar(count, max(counts))} {count:,}"
    if len(counts) > _MOST_LABELS:
        yield f"... and {len(counts) - _MOST_LABELS:,} more labels"


def _bar(count: int, most: int) -> str:
    return ("█" * (max(1, round(_BAR_CELLS * count / most)) if count else 0)).ljust(_BAR_CELLS)
