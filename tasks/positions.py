"""Whether a vision model stretches its position embeddings to images of another size than it was pre-trained on.

Training and tracing ask here, so that the traced step is the one that is trained.
"""

from __future__ import annotations

import inspect
from typing import Any

STRETCH = "interpolate_pos_encoding"
"""The argument with which models of transformers are told to; most refuse other sizes without it."""


def stretches_positions(model: Any, edges: tuple[int, int]) -> bool:
    """Whether the model has to be told to stretch, and can.

    Args:
        model: of transformers, without adapters.
        edges: pixels along the height and the width of what it is given.
    """
    if getattr(model.config, "image_size", None) in (None, edges[0], list(edges)):
        return False
    # The accelerator wraps `forward`, and keeps the model's own in its class.
    return STRETCH in inspect.signature(type(model).forward).parameters
