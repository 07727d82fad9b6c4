"""How long a task on this machine shows no progress, for the process at home; elsewhere the machine's guard looks."""

from __future__ import annotations

import json
from pathlib import Path

from manager.units import format_duration
from tasks.protocol import HEARTBEAT_FILE

AFTER_OTHERS_S = 10.0
"""The trainer and the dead-man timer, which know more, come first by so much."""


def hang_words(run_dir: Path, *, since_s: float, now_s: float, hang_s: float) -> str | None:
    """A sentence, where the task hangs; None: it does not.

    Args:
        run_dir: folder in which the task writes its signs of life.
        since_s: Unix time of the newest sign that is known otherwise: the last event, or the launch.
        now_s: Unix time.
        hang_s: longest time without progress.
    """
    stuck_s = now_s - max(since_s, _progress_at_s(run_dir))
    if stuck_s < hang_s + AFTER_OTHERS_S:
        return None
    return f"no sign of progress for {format_duration(stuck_s)}"


def _progress_at_s(run_dir: Path) -> float:
    """From the trainer's heartbeat; 0 where there is none that can be read."""
    try:
        return float(json.loads((run_dir / HEARTBEAT_FILE).read_text(encoding="utf-8"))["progress_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
