"""A data set cut to a few samples, spread over the whole: what a trial of one step needs of it. NumPy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

D = TypeVar("D")


def cut(data: D, most: int | None) -> D:
    """The data set with at most so many samples in each of its sets; as it is for None.

    Args:
        data: LabelledData, TextData or MediaData.
        most: samples.
    """
    if most is None:
        return data
    whole: Any = data
    sets = {name: getattr(whole, name) for name in ("train", "validation", "test")}
    found: D = replace(whole, **{name: _cut(part, most) for name, part in sets.items()})
    return found


def _cut(part: Any, most: int) -> Any:
    return part.take(np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(np.int64))
