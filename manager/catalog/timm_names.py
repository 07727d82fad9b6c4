"""Image models of timm: from a hub id (`timm/resnet50.a1_in1k`) or timm's own config.json to a config for the tracer.

transformers builds them through its `timm_wrapper`. Whether an architecture of that name exists is for timm to say,
when it is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from manager.catalog.config_fields import field_error

_HUB_PREFIX = "timm/"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SIZE = re.compile(r"(?:_|to)(224|240|256|288|300|320|336|352|378|384|448|512|518)(?=_|$)")
"""Edges in pixels that timm writes into names; other numbers there are widths (`mobilenetv3_small_100`)."""

_ARGUMENTS = frozenset(
    {
        "depth",
        "drop_path_rate",
        "drop_rate",
        "embed_dim",
        "global_pool",
        "img_size",
        "in_chans",
        "num_classes",
        "num_heads",
        "patch_size",
    }
)
"""Of timm's constructors: shapes and rates. Others name files (`checkpoint_path`) or code, which a config of others
must not choose."""


def timm_entry_config(source: str) -> dict[str, Any] | None:
    """The config behind a hub id of timm; None when it is none."""
    if not source.startswith(_HUB_PREFIX):
        return None
    architecture = source.removeprefix(_HUB_PREFIX).split(".")[0]
    return _config(architecture, None) if _NAME.fullmatch(architecture) else None


def timm_config(config: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The config behind a config.json as timm writes it (`architecture`, `pretrained_cfg`); None when it is none.

    Raises:
        DataError: it is one, and its architecture is no name.
    """
    model_type = config.get("model_type")
    if model_type != "timm_wrapper" and (model_type is not None or "architecture" not in config):
        return None
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not _NAME.fullmatch(architecture):
        raise field_error(where, "architecture", architecture, "a name of timm such as 'resnet50'")
    arguments = config.get("model_args")
    if arguments is not None and not isinstance(arguments, dict):
        raise field_error(where, "model_args", arguments, "an object")
    if foreign := sorted(set(arguments or {}) - _ARGUMENTS):
        raise field_error(where, "model_args", foreign[0], f"of {', '.join(sorted(_ARGUMENTS))}")
    for name, value in (arguments or {}).items():
        if not _is_shape(value):
            raise field_error(where, f"model_args.{name}", value, "a number, a short word or a list of numbers")
    found = _config(architecture, _stored_size(config))
    return {**found, "model_args": arguments} if arguments else found


def _is_shape(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, int | float) for part in value)
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and value.isidentifier())


def _config(architecture: str, image_size: int | None) -> dict[str, Any]:
    named = _SIZE.findall(architecture)
    size = image_size or (int(named[-1]) if named else None)
    found: dict[str, Any] = {"model_type": "timm_wrapper", "architecture": architecture}
    return found if size is None else {**found, "image_size": size}


def _stored_size(config: Mapping[str, Any]) -> int | None:
    """Pixels along one edge from `pretrained_cfg.input_size` (channels, height, width)."""
    stored = config.get("pretrained_cfg")
    shape = stored.get("input_size") if isinstance(stored, dict) else None
    if isinstance(shape, list) and len(shape) == 3 and isinstance(shape[1], int) and shape[1] > 0:
        return shape[1]
    size = config.get("image_size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None
