"""Writes safetensors files one tensor at a time, so that no more than one has to be in the host's memory.

The format (https://github.com/huggingface/safetensors#format): the header's size in 8 bytes, little-endian; the header
as JSON, padded with spaces to a multiple of 8; the tensors' bytes in the order of the header, without gaps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TYPES = {name: dtype for dtype, name in _NAMES.items()}
"""By the format's names."""


def write_tensors(file: Path, outline: Mapping[str, torch.Tensor], values: Iterator[torch.Tensor]) -> None:
    """Write a file that safetensors reads.

    Args:
        file: is overwritten.
        outline: names in the order of the values, with tensors of their shapes and types.
        values: the tensors; exactly so many are taken.

    Raises:
        OSError: it cannot be written.
        TypeError: a tensor's type has no name in the format.
    """
    if sys.byteorder != "little":
        raise TypeError("tensors are stored little-endian, and this machine's are not")
    with file.open("wb") as stream:
        stream.write(_header(outline))
        for _, value in zip(outline, values, strict=False):
            flat = value.detach().cpu().contiguous().reshape(-1)
            stream.write(flat.view(torch.uint8).numpy().data)


def _header(outline: Mapping[str, torch.Tensor]) -> bytes:
    entries: dict[str, object] = {}
    end = 0
    for name, tensor in outline.items():
        if tensor.dtype not in _NAMES:
            raise TypeError(f"{name} is of {tensor.dtype}, which safetensors does not store")
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
