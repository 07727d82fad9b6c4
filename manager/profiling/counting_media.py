"""A count of images and recordings with the standard library: folders per label, tables of paths, idx arrays.

Sizes and durations are read from headers, of a seeded sample where there are many; WAV is the only sound that is read.
What lies in Parquet or npz files is the worker's matter.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TypeVar

from manager.errors import DataError
from manager.profiling.counting_splits import held_out, install_hint, no_column, training_split
from manager.profiling.padding import padded_means
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats
from tasks.kinds import TASK_KINDS
from tasks.media_headers import AUDIO_SUFFIXES, IMAGE_SUFFIXES, image_size, wav_recording
from tasks.sample_units import CHARACTERS_PER_TOKEN, MOST_SAMPLES, SPECIAL_TOKENS, WAVEFORM_RATE_HZ

_IDX = re.compile(r"(?P<split>.+?)[-_.](?P<what>images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?$")
_TABLES = (".csv", ".tsv")
_PATH_COLUMNS = ("audio", "image", "path", "file_name", "file")

_READ_BYTES = 1024 * 1024

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Split:
    """One split: a file and a label, a transcript or a text per sample."""

    files: list[Path] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def count_media(spec: RunSpec, source: Path) -> DataStats:
    """Statistics of local images or recordings.

    Raises:
        DataError: a format or layout that needs the worker, a file that cannot be read, nothing to train on.
    """
    idx = [file for file in sorted(source.iterdir()) if _IDX.match(file.name)] if source.is_dir() else []
    if idx and TASK_KINDS[spec.task].length == "images":
        return _count_idx(spec, idx)
    splits = _splits(spec, source)
    sizes = {name: len(split.files) for name, split in splits.items()}
    name = training_split(spec, sizes)
    train = splits[name]
    picked = range(len(train.files))
    basis = f"headers of all {len(train.files):,} training files read; tunefare[local] measures"
    if len(train.files) > MOST_SAMPLES:
        picked_list = sorted(random.Random(spec.training.seed).sample(picked, MOST_SAMPLES))
        basis = f"headers of a seeded sample of {MOST_SAMPLES:,} of {len(train.files):,} training files read"
    else:
        picked_list = list(picked)
    validation, test, rest = held_out(spec, sizes, name)
    labels = set(train.texts) if TASK_KINDS[spec.task].has_labels else set()
    stats = _stats(
        spec,
        samples=(rest, validation, test),
        labels=labels,
        size_bytes=sum(file.stat().st_size for split in splits.values() for file in split.files),
        basis=basis,
    )
    if TASK_KINDS[spec.task].samples == "images":
        stats = _with_sizes(stats, [_read(image_size, train.files[at]) for at in picked_list])
        is_alone = TASK_KINDS[spec.task].length == "images"
        return stats if is_alone else _with_texts(stats, spec, [train.texts[at] for at in picked_list])
    return _with_durations(stats, spec, train, picked_list)


def _stats(spec: RunSpec, *, samples: tuple[int, int, int], labels: set[str], size_bytes: int, basis: str) -> DataStats:
    return DataStats(
        kind=TASK_KINDS[spec.task].samples,
        train_samples=samples[0],
        validation_samples=samples[1],
        test_samples=samples[2],
        labels=tuple(sorted(labels)),
        mean_tokens=1.0,
        longest_tokens=1,
        padded_mean_tokens=1.0,
        truncated_share=0.0,
        bytes=size_bytes,
        sha256=None,
        basis=basis,
        measured=True,
    )


def _with_sizes(stats: DataStats, sizes: list[tuple[int, int]]) -> DataStats:
    widths, heights = [width for width, _ in sizes], [height for _, height in sizes]
    return replace(
        stats,
        mean_width=sum(widths) / len(widths),
        mean_height=sum(heights) / len(heights),
        largest_width=max(widths),
        largest_height=max(heights),
    )


def _with_texts(stats: DataStats, spec: RunSpec, texts: list[str]) -> DataStats:
    whole = [math.ceil(len(text) / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS for text in texts]
    most = spec.training.max_length
    stats = replace(
        stats,
        truncated_share=sum(tokens > most for tokens in whole) / len(whole),
        basis=f"{stats.basis}; tokens of texts estimated at {CHARACTERS_PER_TOKEN:g} characters each",
        measured=False,
    )
    return _with_lengths(stats, spec, [min(tokens, most) for tokens in whole])


def _with_durations(stats: DataStats, spec: RunSpec, train: _Split, picked: list[int]) -> DataStats:
    found = [_read(wav_recording, train.files[at]) for at in picked]
    seconds = [recording.seconds for recording in found]
    lengths = [max(1, round(second * WAVEFORM_RATE_HZ)) for second in seconds]
    stats = replace(
        stats,
        mean_seconds=sum(seconds) / len(seconds),
        longest_seconds=max(seconds),
        sampling_rate_hz=Counter(recording.sampling_rate_hz for recording in found).most_common(1)[0][0],
    )
    if not TASK_KINDS[spec.task].has_labels:
        per_token = 1.0 if spec.task == "speech-ctc" else CHARACTERS_PER_TOKEN
        targets = [math.ceil(len(train.texts[at]) / per_token) for at in picked]
        stats = replace(
            stats,
            mean_target_tokens=sum(targets) / len(targets),
            longest_target_tokens=max(targets),
        )
        if spec.task == "speech-seq2seq":
            lengths = [min(target, spec.training.max_length) for target in targets]
            stats = replace(stats, measured=False)
    return _with_lengths(stats, spec, lengths)


def _with_lengths(stats: DataStats, spec: RunSpec, lengths: list[int]) -> DataStats:
    mean = sum(lengths) / len(lengths)
    padded = padded_means(lengths, batch_size=spec.training.batch_size, seed=spec.training.seed)
    return replace(
        stats,
        mean_tokens=mean,
        longest_tokens=max(lengths),
        padded_mean_tokens=padded[-1].tokens,
        padded_means=padded,
    )


def _splits(spec: RunSpec, source: Path) -> dict[str, _Split]:
    tables = [source] if source.is_file() else sorted(f for f in source.iterdir() if f.suffix.lower() in _TABLES)
    if tables:
        return {table.stem: _table(spec, table) for table in tables}
    suffixes = IMAGE_SUFFIXES if TASK_KINDS[spec.task].samples == "images" else AUDIO_SUFFIXES
    files = sorted(f for f in source.rglob("*") if f.suffix.lower() in suffixes and f.is_file())
    depths = {len(file.relative_to(source).parts) for file in files}
    if depths not in ({2}, {3}) or not TASK_KINDS[spec.task].has_labels:
        raise DataError(
            f"no layout of '{source}' that can be read without the libraries", hint=install_hint("a folder per label")
        )
    splits: dict[str, _Split] = {}
    for file in files:
        *above, label, _ = file.relative_to(source).parts
        split = splits.setdefault(above[0] if above else "train", _Split())
        split.files.append(file)
        split.texts.append(label)
    return splits


def _table(spec: RunSpec, table: Path) -> _Split:
    """Paths, meant from the table's folder, with labels, transcripts or texts."""
    if table.suffix.lower() not in _TABLES:
        raise DataError(
            f"a {table.suffix or 'nameless'} file cannot be read without the libraries",
            hint=install_hint("a folder per label"),
        )
    data, split = spec.data, _Split()
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t" if table.suffix.lower() == ".tsv" else ","):
                column = data.audio or data.image or next((name for name in _PATH_COLUMNS if name in row), "path")
                text = data.label
                if not TASK_KINDS[spec.task].has_labels:
                    is_spoken = TASK_KINDS[spec.task].samples == "audio"
                    text = data.transcript or ("transcript" if is_spoken and "transcript" in row else data.text)
                for name in (column, text):
                    if name not in row:
                        raise no_column(table, name, row)
                if row[column] and row[text]:
                    split.files.append(table.parent / row[column])
                    split.texts.append(row[text])
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"'{table}' cannot be read: {error}", hint=install_hint("a folder per label")) from error
    return split


def _values(stream: IO[bytes] | gzip.GzipFile, count: int) -> set[int]:
    """Different bytes among the next so many, a piece at a time: a small archive may unpack to anything."""
    found: set[int] = set()
    while count > 0 and (part := stream.read(min(count, _READ_BYTES))):
        found |= set(part)
        count -= len(part)
    return found


def _count_idx(spec: RunSpec, files: list[Path]) -> DataStats:
    """Arrays as MNIST comes in (http://yann.lecun.com/exdb/mnist): sizes from headers, labels from the bytes."""
    sizes: dict[str, int] = {}
    pixels: dict[str, tuple[int, int]] = {}
    labels: set[int] = set()
    for file in files:
        match = _IDX.match(file.name)
        assert match is not None, "files were chosen by this pattern"
        name = {"t10k": "test"}.get(match["split"], match["split"])
        try:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
                head = stream.read(16 if match["what"] == "images" else 8)
                if match["what"] == "labels":
                    labels |= _values(stream, int.from_bytes(head[4:8], "big"))
        except (OSError, EOFError) as error:
            raise DataError(f"'{file}' cannot be read: {error}", hint="get the file again") from error
        numbers = [int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4)]
        if match["what"] == "images" and len(numbers) == 3:
            sizes[name], pixels[name] = numbers[0], (numbers[2], numbers[1])
    name = training_split(spec, sizes) if sizes else ""
    if not name:
        raise DataError("the folder has labels and no images", hint="put train-images-idx3-ubyte.gz beside them")
    validation, test, rest = held_out(spec, sizes, name)
    stats = _stats(
        spec,
        samples=(rest, validation, test),
        labels={str(label) for label in labels},
        size_bytes=sum(file.stat().st_size for file in files),
        basis=f"all {sizes[name]:,} training images counted",
    )
    return _with_sizes(stats, [pixels[name]])


def _read(read: Callable[[Path], T], file: Path) -> T:
    try:
        return read(file)
    except (OSError, ValueError) as error:
        raise DataError(f"'{file}' cannot be read: {error}", hint=install_hint("a folder per label")) from error
