"""`python -m manager.launch.local_end RUN_DIR`: end all processes of a local run; what its dead-man timer calls."""

from __future__ import annotations

import sys
from pathlib import Path

from manager.launch.local_process import end_all, read_leader

GRACE_S = 2.0
PATIENCE_S = 10.0


def main(arguments: list[str]) -> int:
    """End them; the exit status is 0 when nothing is left."""
    run_dir = Path(arguments[0])
    return 0 if end_all(run_dir, read_leader(run_dir), grace_s=GRACE_S, patience_s=PATIENCE_S) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
