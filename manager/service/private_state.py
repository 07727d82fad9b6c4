"""The state folder is its owner's alone: what is written, and what an earlier version or a loose umask left open.

Owns modes of files that tunefare itself made, by their names in `manager.paths.Home`; files of others that lie beside
them, and folders that a whole machine shares, stay as they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from manager.paths import Home

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PRIVATE_UMASK = 0o077
_SIDES_OF_A_DATABASE = ("-wal", "-shm", "-journal")


def keep_private() -> None:
    """From now on this process, and what it starts, makes files that their owner alone can read."""
    os.umask(_PRIVATE_UMASK)


def tighten(home: Home) -> tuple[str, ...]:
    """Close what of the state folder is open to others; a sentence on what was, none where all was private.

    A folder that nobody else can enter hides all that is in it: then only what lies on top is looked at.
    """
    try:
        root = home.root.stat()
    except OSError:
        return ()
    if not stat.S_ISDIR(root.st_mode) or root.st_uid != os.getuid():
        return ()
    own = [place for place in _places(home) if place.exists()]
    # Somebody may have named a folder that is more than tunefare's: its mode is not ours to change.
    is_ours = bool(own) and not root.st_mode & stat.S_ISVTX and home.root != Path.home()
    was_open = bool(root.st_mode & _OTHERS)
    opened = list(_closed([home.root] if is_ours else []))
    opened += _closed(own)
    if was_open:
        opened += _closed(inner for place in own if place.is_dir() for inner in _inside(place))
    if not opened:
        return ()
    more = f" and {len(opened) - 1} more in it" if len(opened) > 1 else ""
    return (f"{opened[0]}{more} could be read by other users of this machine; now only you can",)


def _places(home: Home) -> Iterator[Path]:
    for name in sorted(vars(Home)):
        if isinstance(getattr(Home, name), property):
            yield getattr(home, name)
    for side in _SIDES_OF_A_DATABASE:
        yield home.ledger_file.with_name(home.ledger_file.name + side)


def _inside(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _closed(places: list[Path] | Iterator[Path]) -> Iterator[Path]:
    """Close each place that is open to others; those that were."""
    for place in places:
        # What vanishes meanwhile, or is another user's, is nothing to close.
        with suppress(OSError):
            mode = place.lstat()
            # The mode of a link is nobody's; a file with two names may be the user's own data, laid out for a machine.
            is_own = mode.st_uid == os.getuid() and not stat.S_ISLNK(mode.st_mode)
            is_shared = stat.S_ISREG(mode.st_mode) and mode.st_nlink > 1
            if is_own and not is_shared and mode.st_mode & _OTHERS:
                place.chmod(stat.S_IMODE(mode.st_mode) & ~_OTHERS)
                yield place
