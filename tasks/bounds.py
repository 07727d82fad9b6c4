"""How much a data file may unpack to: files of a few bytes must fill neither the memory nor the disk of whoever looks.

What is read is held in memory, so the bound is a share of the memory that is free now, whatever a file is packed with;
it is asked for before a file is read where the file says its size, and kept while it is unpacked where it may lie.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
from pathlib import Path

from tasks.failures import TaskError
from tasks.protocol import FailureCode

SHARE_OF_MEMORY = 0.5
"""Of what is free: samples become objects, which take more room than their bytes."""
_READ_BYTES = 1024 * 1024
_SPARE_DISK_BYTES = 256 * 1024 * 1024
_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def in_units(count: float) -> str:
    """`1.5 GiB`."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def most_bytes() -> int:
    """What one file may come to in memory."""
    return int(SHARE_OF_MEMORY * _free_memory_bytes())


def check_bytes(name: str, count: int) -> None:
    """Refuse a size.

    Raises:
        TaskError: data_invalid: it is more than this machine should hold.
    """
    if count > (most := most_bytes()):
        raise TaskError(
            FailureCode.DATA_INVALID,
            f"{name} unpacks to {in_units(count)} or more, and this machine should hold {in_units(most)} at most.",
            hint="Is it what it should be? If so, divide it into files, or give a machine with more memory.",
        )


def read_gzip(file: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        TaskError: data_invalid: it is too much.
        OSError, EOFError, zlib.error: it cannot be unpacked.
    """
    most, parts, count = most_bytes(), [], 0
    with gzip.open(file) as stream:
        while part := stream.read(_READ_BYTES):
            parts.append(part)
            count += len(part)
            if count > most:
                check_bytes(file.name, count)
    return b"".join(parts)


def check_zip(file: Path) -> None:
    """Look at what the members of an archive unpack to; reading them goes no further than that.

    Raises:
        TaskError: data_invalid: it is too much.
        OSError, zipfile.BadZipFile: it is no archive.
    """
    with zipfile.ZipFile(file) as archive:
        check_bytes(file.name, sum(member.file_size for member in archive.infolist()))


def check_room(folder: Path, count: int, what: str) -> None:
    """Refuse a download for which the disk has no room.

    Raises:
        TaskError: disk_full.
    """
    free = shutil.disk_usage(folder).free
    if count + _SPARE_DISK_BYTES > free:
        raise TaskError(
            FailureCode.DISK_FULL,
            f"{what} is {in_units(count)}, and the disk of {str(folder)!r} has {in_units(free)} left.",
            hint="Free some space, name another folder by TUNEFARE_CACHE, or ask for a larger disk.",
        )


def _free_memory_bytes() -> int:
    """Without what others use; where the system does not say, all of it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kib,) = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        return kib * 1024
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
