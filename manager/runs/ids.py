"""Names of runs."""

from __future__ import annotations

import time
from random import Random

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def new_run_id(name: str, now_s: float, random: Random) -> str:
    """`<name>-<yyyymmdd>-<4 base32>`; the date is UTC. Pass `random.SystemRandom()` outside tests."""
    date = time.strftime("%Y%m%d", time.gmtime(now_s))
    return f"{name}-{date}-{''.join(random.choices(_BASE32, k=4))}"
