"""Sizes of images and durations of recordings from their headers; standard library only, as the planner counts too.

Reads the formats that data sets come in: PNG, JPEG, GIF, BMP and WebP, and WAV. Pixels and sound are not decoded.
"""

from __future__ import annotations

import struct
import wave
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
_SIZES_IN_FRAME_HEADER = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Start-of-frame markers of JPEG (ITU-T T.81, table B.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What the header of a recording says."""

    seconds: float
    sampling_rate_hz: int


def image_size(source: Path | bytes) -> tuple[int, int]:
    """Width and height in pixels of an encoded image, as it is stored.

    Raises:
        ValueError: no image of a format that is read here, or a torn one.
        OSError: the file cannot be read.
    """
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        head = stream.read(32)
        try:
            size = _size(head, stream)
        except (struct.error, IndexError) as error:
            raise ValueError("the image is torn") from error
    if size is None or min(size) < 1:
        raise ValueError("no PNG, JPEG, GIF, BMP or WebP image")
    return size


def wav_recording(source: Path | bytes) -> Recording:
    """Duration and sampling rate of a WAV file, or of what one holds.

    Raises:
        ValueError: no WAV file, or one that is compressed.
        OSError: the file cannot be read.
    """
    try:
        with wave.open(BytesIO(source) if isinstance(source, bytes) else str(source), "rb") as stream:
            rate = stream.getframerate()
            if rate < 1:
                raise ValueError("the sampling rate is 0")
            return Recording(seconds=stream.getnframes() / rate, sampling_rate_hz=rate)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"no WAV file that can be read: {error}") from error


def _size(head: bytes, stream: BinaryIO) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", head[16:24])
        return width, height
    if head.startswith(b"\xff\xd8"):
        return _jpeg_size(stream)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack("<HH", head[6:10])
        return width, height
    if head.startswith(b"BM"):
        width, height = struct.unpack("<ii", head[18:26])
        return width, abs(height)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return None


def _jpeg_size(stream: BinaryIO) -> tuple[int, int] | None:
    stream.seek(2)
    while True:
        byte = stream.read(1)
        if not byte:
            return None
        if byte != b"\xff":
            continue
        marker = stream.read(1)[0]
        while marker == 0xFF:
            marker = stream.read(1)[0]
        if marker in _SIZES_IN_FRAME_HEADER:
            height, width = struct.unpack(">xxxHH", stream.read(7))
            return width, height
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue  # these carry no segment
        (length,) = struct.unpack(">H", stream.read(2))
        stream.seek(length - 2, 1)


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """https://developers.google.com/speed/webp/docs/riff_container."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None
