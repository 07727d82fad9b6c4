"""Tiny images and recordings, written with the standard library."""

from __future__ import annotations

import gzip
import struct
import wave
import zlib
from pathlib import Path


def png(width: int, height: int, level: int = 0) -> bytes:
    """A grey PNG image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes([level]) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_png(file: Path, width: int, height: int, level: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(width, height, level))
    return file


def write_wav(file: Path, seconds: float, rate_hz: int = 8000) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate_hz)
        stream.writeframes(b"\0\0" * round(seconds * rate_hz))
    return file


def write_idx(folder: Path, prefix: str, images: list[bytes], labels: list[int], *, edge: int) -> None:
    """Images of edge x edge bytes and their labels, as MNIST comes."""
    folder.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">IIII", 0x803, len(images), edge, edge)
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + b"".join(images)))
    head = struct.pack(">II", 0x801, len(labels))
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + bytes(labels)))
