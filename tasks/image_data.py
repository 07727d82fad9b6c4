"""Images with labels or texts: folders, tables, and arrays as the classic sets come (idx as MNIST has it, npz).

Knows sizes, and pixels only where they lie in arrays; decoding is `tasks.pixels`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.bounds import check_bytes, check_zip, read_gzip
from tasks.failures import TaskError
from tasks.job import DataChoice
from tasks.media_data import Item, MediaData, MediaKind, MediaSource, load_media
from tasks.media_headers import IMAGE_SUFFIXES, image_size
from tasks.protocol import FailureCode
from tasks.reading import ALL, Notify

IMAGES = MediaKind(name="image", text="text", suffixes=IMAGE_SUFFIXES, columns=("image", "img", "file_name", "path"))
_IDX = re.compile(r"(?P<split>.+?)[-_.](?P<what>images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?$")
_SPLIT_OF_PREFIX = {"t10k": "test"}
_NPZ_NAMES = (
    ("x_train", "y_train", "train"),
    ("x_test", "y_test", "test"),
    ("train_images", "train_labels", "train"),
    ("val_images", "val_labels", "validation"),
    ("test_images", "test_labels", "test"),
    ("images", "labels", ALL),
    ("x", "y", ALL),
)


def load_images(
    choice: DataChoice, *, has_labels: bool = True, seed: int, notify: Notify, with_hash: bool
) -> MediaData:
    """Fetch, read, check and split images, with labels or else with texts.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job.
    """
    if not has_labels:
        return load_media(choice, IMAGES, has_labels=False, seed=seed, notify=notify, with_hash=with_hash)
    return load_media(
        choice, IMAGES, has_labels=True, seed=seed, notify=notify, with_hash=with_hash, arrays=_array_source
    )


def stored_size(item: Item) -> tuple[int, int]:
    """Width and height in pixels of an image as it is stored.

    Raises:
        TaskError: data_invalid, when it cannot be read.
    """
    if isinstance(item, np.ndarray):
        return item.shape[1], item.shape[0]
    try:
        return image_size(item)
    except (ValueError, OSError) as error:
        name = item.name if isinstance(item, Path) else "An image"
        raise TaskError(FailureCode.DATA_INVALID, f"{name} cannot be read: {error}.") from error


def _array_source(path: Path) -> MediaSource | None:
    if path.is_file():
        return _npz(path) if path.suffix == ".npz" else None
    if not path.is_dir():
        return None
    idx = [file for file in sorted(path.iterdir()) if _IDX.match(file.name)]
    if idx:
        return _idx_folder(path, idx)
    npz = sorted(path.glob("*.npz"))
    return _npz(npz[0]) if len(npz) == 1 else None


def _idx_folder(root: Path, files: list[Path]) -> MediaSource:
    found: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for file in files:
        match = _IDX.match(file.name)
        assert match is not None, "files were chosen by this pattern"
        prefix = match["split"]
        found.setdefault(_SPLIT_OF_PREFIX.get(prefix, prefix), {})[match["what"]] = _read_idx(file)
    lacking = [name for name, part in found.items() if set(part) != {"images", "labels"}]
    if lacking:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The split {lacking[0]!r} of {str(root)!r} lacks its images or its labels.",
            hint="Expected are pairs such as train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz.",
        )
    splits = {name: _pairs(part["images"], part["labels"], name) for name, part in found.items()}
    return MediaSource(splits=splits, files=files, root=root)


def _read_idx(file: Path) -> NDArray[np.uint8]:
    """The format of http://yann.lecun.com/exdb/mnist: two zero bytes, type 8, dimensions, sizes, bytes."""
    try:
        if file.suffix != ".gz":
            check_bytes(file.name, file.stat().st_size)
        content = read_gzip(file) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{file.name} cannot be read: {error}.") from error
    dimensions = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if not dimensions or len(content) != start + int(np.prod(shape)):
        raise TaskError(FailureCode.DATA_INVALID, f"{file.name} is no idx file of bytes, or torn.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _npz(file: Path) -> MediaSource:
    try:
        check_zip(file)
        with np.load(file, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{file.name} cannot be read: {str(error)[:200]}.") from error
    pairs = [(name, held[x], held[y]) for x, y, name in _NPZ_NAMES if x in held and y in held]
    if not pairs:
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{file.name} has no images and labels under known names; it has {', '.join(sorted(held)) or 'nothing'}.",
            hint="Known are x_train and y_train, train_images and train_labels, images and labels, x and y.",
        )
    return MediaSource(
        splits={name: _pairs(images, labels, name) for name, images, labels in pairs}, files=[file], root=file.parent
    )


def _pairs(images: NDArray[np.uint8], labels: NDArray[np.uint8], split: str) -> tuple[list[Item], list[str]]:
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or labels.ndim != 1 or len(images) != len(labels):
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"The split {split!r} has images {images.dtype} {images.shape} and labels {labels.shape}.",
            hint="Images are bytes, samples x height x width (x channels); labels are one number each.",
        )
    return list(images), [str(label) for label in labels.tolist()]
