"""Sizes and durations are those that the decoders find."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tasks.media_headers import image_size, wav_recording
from tests.support.media_samples import png, write_wav

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("size", [(37, 53), (300, 5), (1, 1)])
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"x" * 300}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0abc"}),
    ],
)
def test_the_size_is_in_the_header(form: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    out = BytesIO()
    Image.new("RGB", size, (3, 4, 5)).save(out, form, **options)
    assert image_size(out.getvalue()) == size


@pytest.mark.parametrize("content", [b"", b"text", png(3, 4)[:18], b"\xff\xd8\xff\xe0\x00", b"\xff\xd8"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no PNG|torn"):
        image_size(content)


def test_a_wav_file_tells_its_duration(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "a.wav", 0.5, 8000)
    for source in (file, file.read_bytes()):
        found = wav_recording(source)
        assert (found.seconds, found.sampling_rate_hz) == (0.5, 8000)
    with pytest.raises(ValueError, match="no WAV"):
        wav_recording(b"RIFFxxxx")
