"""CPU time from nothing to the first paint of the Plan screen, beside an empty Textual application.

    python -m tests.bench.bench_tui_start [--runs 5]

Each start is a process of its own, in the size of a usual terminal and without one (Textual's headless driver); the
figure is user and system time of the whole process when Textual says that the screen has been painted. Goal: 0.8 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.table import Table

GOAL_S = 0.8
_EMPTY = """
import resource
from textual.app import App
class Peer(App):
    def on_ready(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        print('CPU', used.ru_utime + used.ru_stime, used.ru_maxrss)
        self.exit()
Peer().run(headless=True, size=(120, 40))
"""
_OURS = """
import resource
from manager.service.context import open_context
from tui.app import TunefareApp
def on_ready(self):
    used = resource.getrusage(resource.RUSAGE_SELF)
    print('CPU', used.ru_utime + used.ru_stime, used.ru_maxrss)
    assert self.screen.SCOPE == 'plan'
    self.exit()
TunefareApp.on_ready = on_ready
TunefareApp(open_context()).run(headless=True, size=(120, 40))
"""


def start(code: str) -> tuple[float, float]:
    """CPU seconds and MiB of one start, in a home of its own."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TUNEFARE_HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    line = next((line for line in done.stdout.splitlines() if "CPU " in line), None)
    if line is None:
        raise SystemExit(f"the application did not start:\n{done.stdout}{done.stderr}")
    cpu_s, kib = line[line.index("CPU ") + 4 :].split()[:2]
    return float(cpu_s), float(kib.split("\x1b")[0]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5, help="starts of each; one more warms the disk")
    runs = parser.parse_args().runs
    table = Table("application", "CPU, median", "CPU, most", "memory", "ratio", title=f"First paint, {runs} starts")
    floor = 0.0
    for name, code in (("empty Textual application", _EMPTY), ("tunefare, screen Plan", _OURS)):
        start(code)
        found = [start(code) for _ in range(runs)]
        middle = statistics.median(cpu_s for cpu_s, _ in found)
        floor = floor or middle
        most = max(cpu_s for cpu_s, _ in found)
        memory = max(mib for _, mib in found)
        table.add_row(name, f"{middle:.2f} s", f"{most:.2f} s", f"{memory:.0f} MiB", f"{middle / floor:.1f}")
    Console().print(table)
    Console().print(f"goal: {GOAL_S} s")


if __name__ == "__main__":
    main()
