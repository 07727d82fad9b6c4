"""Catalogs kept parsed: what was read from a file once is not worked out again until the file changes.

An entry belongs to one state of one file (path, size, time of change) and to one state of the reader (its source code
and tables), so an update of either starts afresh. It holds no age: how old prices are is asked of the catalog itself.
An entry that is damaged, or cannot be written, costs time and nothing else.

    <folder>/<cloud>-<hash of the path>.json    line 1: {"key": [...], "crc32": ...}; line 2: the content
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from threading import get_ident
from typing import Any

from manager.prices.machines import PricedMachine

_FRESH_S = 2.0
"""A file changed so shortly ago may change again within the resolution of its time; it is not kept yet."""
_TABLES = ("accelerators.csv", "accelerator_aliases.csv", "accelerator_variants.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCatalog:
    """What one catalog says."""

    machines: tuple[PricedMachine, ...]
    counts: dict[str, int]
    """Rule -> how often it fired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The place of one catalog in the cache."""

    file: Path
    key: tuple[str, int, int, int]
    """Path, bytes, time of change in ns, reader."""
    may_keep: bool


def entry_of(catalog: Path, folder: Path, *, now_s: float) -> Entry | None:
    """Where the catalog as it is now is kept; None when it cannot be asked for size and time.

    Args:
        catalog: a `<cloud>/vms.csv`.
        folder: of the cache; need not exist.
        now_s: Unix time in seconds.
    """
    try:
        state = catalog.stat()
    except OSError:
        return None
    path = str(catalog.absolute())
    name = f"{catalog.parent.name}-{hashlib.sha256(path.encode()).hexdigest()[:16]}.json"
    return Entry(
        file=folder / name,
        key=(path, state.st_size, state.st_mtime_ns, _reader()),
        may_keep=abs(now_s - state.st_mtime) > _FRESH_S,
    )


def kept(entry: Entry) -> ParsedCatalog | None:
    """The content of an entry; None when there is none, it is of another state, or it is damaged."""
    try:
        head, content = entry.file.read_bytes().split(b"\n", 1)
        header = json.loads(head)
        if header["key"] != list(entry.key) or header["crc32"] != zlib.crc32(content):
            return None
        return _decoded(json.loads(content))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def keep(entry: Entry, catalog: ParsedCatalog) -> None:
    """Write an entry; whoever reads meanwhile sees the old or the new one."""
    if not entry.may_keep:
        return
    content = json.dumps(_encoded(catalog), separators=(",", ":")).encode()
    head = json.dumps({"key": entry.key, "crc32": zlib.crc32(content)}).encode()
    beside = entry.file.with_name(f".{entry.file.name}.{os.getpid()}.{get_ident()}")
    try:
        entry.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_bytes(head + b"\n" + content)
        beside.replace(entry.file)
    except OSError:
        with suppress(OSError):
            beside.unlink()


class _Numbers(dict[Any, int]):
    """Value -> its number, in the order of first use."""

    def __missing__(self, value: Any) -> int:
        self[value] = number = len(self)
        return number


def _encoded(catalog: ParsedCatalog) -> dict[str, Any]:
    places, flags = _Numbers(), _Numbers()
    machines = [
        [
            machine.instance_type,
            machine.accelerator,
            machine.accelerator_count,
            machine.accelerator_memory_bytes,
            machine.vcpus,
            machine.memory_bytes,
            machine.use_spot,
            flags[machine.flags],
            machine.ticks,
            list(map(places.__getitem__, zip(machine.regions, machine.zones, strict=True))),
            _one_or_each(list(map(flags.__getitem__, machine.quote_flags))),
        ]
        for machine in catalog.machines
    ]
    return {"counts": catalog.counts, "places": list(places), "flags": list(flags), "machines": machines}


def _decoded(content: dict[str, Any]) -> ParsedCatalog:
    region_of = [region for region, _ in content["places"]].__getitem__
    zones_of = [tuple(zones) for _, zones in content["places"]].__getitem__
    flags = [tuple(names) for names in content["flags"]]
    machines: list[PricedMachine] = []
    for row in content["machines"]:
        instance_type, accelerator, count, card_bytes, vcpus, host_bytes, spot, own, ticks, places, each = row
        machines.append(
            PricedMachine(
                instance_type=instance_type,
                accelerator=accelerator,
                accelerator_count=count,
                accelerator_memory_bytes=card_bytes,
                vcpus=vcpus,
                memory_bytes=host_bytes,
                use_spot=spot,
                flags=flags[own],
                ticks=tuple(ticks),
                regions=tuple(map(region_of, places)),
                zones=tuple(map(zones_of, places)),
                quote_flags=(flags[each],) * len(ticks) if isinstance(each, int) else tuple(flags[n] for n in each),
            )
        )
    return ParsedCatalog(machines=tuple(machines), counts=content["counts"])


def _one_or_each(numbers: Sequence[int]) -> int | Sequence[int]:
    return numbers[0] if len(set(numbers)) == 1 else numbers


@lru_cache(maxsize=1)
def _reader() -> int:
    """A checksum of all that decides how a catalog is read: this package's code and tables, those of accelerators."""
    own = files("manager.prices")
    code = [file for file in (*own.iterdir(), *own.joinpath("data").iterdir()) if file.name.endswith((".py", ".csv"))]
    catalog = files("manager.catalog")
    tables = [catalog.joinpath("accelerators.py"), *(catalog.joinpath("data", name) for name in _TABLES)]
    checksum = 0
    for file in (*sorted(code, key=lambda one: one.name), *tables):
        checksum = zlib.crc32(file.read_bytes(), checksum)
    return checksum
