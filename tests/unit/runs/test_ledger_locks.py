"""Several connections of one process beside other processes: none may take the write-ahead log away from another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from manager.runs.ledger import Ledger

_OPEN_AND_CLOSE = """
import pathlib, sys
from manager.runs.ledger import Ledger
Ledger.open(pathlib.Path(sys.argv[1])).close()
"""


def test_a_second_connection_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """The last connection that closes deletes the log; another process must see that this one is still open."""
    file = tmp_path / "ledger.sqlite3"
    with Ledger.open(file) as first:
        Ledger.open(file).close()
        subprocess.run([sys.executable, "-c", _OPEN_AND_CLOSE, str(file)], check=True, timeout=60)
        assert (tmp_path / "ledger.sqlite3-wal").exists()
        assert first.runs() == ()
