"""A run that says 1,000 events a second, watched on the screen Run: how long keys take, and whether memory stays flat.

`python -m tests.bench.bench_tui_stream [--seconds 60] [--rate 1000]`. Another process writes events into the ledger and
lines into the log, as a supervising process does; the real application follows them while keys are pressed. The latency
of a key is the time from its event to the end of the handling and painting that it caused; the peer is the same
application on the same screen without any stream, in the same process just before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from textual.app import App
from textual.events import Key
from textual.pilot import Pilot

from manager.launch.engine import LOG_FILE
from manager.runs.ledger import Ledger
from tasks.protocol import EVENT_PREFIX, Event, EventType
from tests.support.followed_run import FollowedRun
from tests.support.report_factory import T0, cut, make_events
from tui.app import TunefareApp
from tui.screens.run import RunScreen

_KEYS = ("j", "k", "x", "G", "c", "g")
_PAUSE_S = 0.05
_BATCH_S = 0.1
_FRAME_S = 1 / 60
"""Textual paints so often at most; it is part of every latency here."""
_GOAL_P99_MS = 100.0


class Running:
    """A clock that goes on from the begin of the run."""

    def __init__(self) -> None:
        self._from = time.time() - 400

    def __call__(self) -> float:
        return T0 + time.time() - self._from


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Latencies of keys, and memory."""

    latencies_ms: list[float]
    cpu_ms: list[float]
    """Of the thread that draws, for each key with all that came between: what remains on a machine that is busy."""
    memory_mib: list[tuple[float, float]]
    """Seconds since the begin, resident size."""

    def share(self, percent: int) -> float:
        """The latency that so many percent of the keys stay under."""
        return _share(self.latencies_ms, percent)

    def cpu_share(self, percent: int) -> float:
        """The same of processor time."""
        return _share(self.cpu_ms, percent)


def _share(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * len(ordered)))]


def write(folder: Path, run_id: str, seconds: float, rate: int) -> None:
    """In a process of its own: events and log lines, in batches as supervision stores them."""
    head = cut(make_events(), EventType.TRAIN, count=1)
    template, seq = head[-1].data, head[-1].seq
    log_file = folder / "home" / "runs" / run_id / LOG_FILE
    batch = round(rate * _BATCH_S)
    end = time.monotonic() + seconds
    due = time.monotonic()
    written = 0
    with Ledger.open(folder / "home" / "ledger.sqlite3") as ledger, log_file.open("a", encoding="utf-8") as log:
        while time.monotonic() < end:
            events = []
            for _ in range(batch):
                seq += 1
                step = seq
                data = {**template, "step": step, "loss": 2.0 / (1 + step / 5000), "elapsed_s": step * 0.001}
                events.append(Event(seq=seq, time_s=T0 + 400 + seq / rate, type=EventType.TRAIN, data=data))
            ledger.append_events(run_id, events)
            log.writelines(f"{EVENT_PREFIX}{event.to_line()}\nstep {event.seq} done\n" for event in events)
            log.flush()
            written += len(events)
            due += _BATCH_S
            time.sleep(max(0.0, due - time.monotonic()))
    sys.stdout.write(f"{written}\n")


async def painted(app: App[None], key: str) -> None:
    """Until a key's action is through and the screen has been painted after it.

    Not `pilot.press`: that also waits until the whole process is idle, which it never is while a stream is read.
    """
    driver = app._driver
    assert driver is not None
    driver.send_message(Key(key, key))
    handled, drawn = asyncio.Event(), asyncio.Event()
    # Messages of the application are handled in their order: this one after the key.
    app.call_later(handled.set)
    await handled.wait()
    # Widgets tell the screen what they want painted when they are idle; a frame later all of them have.
    await asyncio.sleep(_FRAME_S)
    app.screen.call_after_refresh(drawn.set)
    await drawn.wait()


async def press(pilot: Pilot[None], seconds: float) -> Measured:
    """Keys for so long; each is waited for until all that it caused is painted."""
    process = psutil.Process(os.getpid())
    latencies: list[float] = []
    cpu: list[float] = []
    memory: list[tuple[float, float]] = []
    began = time.monotonic()
    number = 0
    while (passed := time.monotonic() - began) < seconds:
        if not memory or passed - memory[-1][0] >= 1:
            memory.append((passed, process.memory_info().rss / 2**20))
        start, cpu_start = time.perf_counter(), time.thread_time()
        await painted(pilot.app, _KEYS[number % len(_KEYS)])
        latencies.append((time.perf_counter() - start) * 1000)
        cpu.append((time.thread_time() - cpu_start) * 1000)
        number += 1
        await asyncio.sleep(_PAUSE_S)
    return Measured(latencies_ms=latencies, cpu_ms=cpu, memory_mib=memory)


async def measure(seconds: float, rate: int) -> tuple[Measured, Measured, int, int]:
    """Without a stream, then with it: latencies and memory, events written, steps that the screen has seen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        followed = FollowedRun(folder=folder, clock=Running())  # type: ignore[arg-type]
        followed.run()
        with Ledger.open(followed.context.home.ledger_file) as ledger:
            ledger.append_events(followed.run_id, cut(make_events(), EventType.TRAIN, count=1))
        followed.print_lines("begun")
        app = TunefareApp(followed.context)
        async with app.run_test(size=(120, 40)) as pilot:
            await app.open_run(followed.run_id)
            screen = app.screen
            assert isinstance(screen, RunScreen)
            # The plotting library is loaded after the first paint.
            while screen.live is None or not screen.query("PlotWidget"):
                await pilot.pause(0.1)
            await pilot.pause(2.0)
            quiet = await press(pilot, min(10.0, seconds))
            arguments = ["--write", str(folder), followed.run_id, "--seconds", str(seconds), "--rate", str(rate)]
            writer = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.bench_tui_stream", *arguments], stdout=subprocess.PIPE, text=True
            )
            loud = await press(pilot, seconds)
            written = int(writer.communicate()[0])
            await pilot.pause(2.0)
            return quiet, loud, written, screen.live.step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--write", nargs=2, metavar=("FOLDER", "RUN"))
    options = parser.parse_args()
    if options.write:
        write(Path(options.write[0]), options.write[1], options.seconds, options.rate)
        return
    quiet, loud, written, step = asyncio.run(measure(options.seconds, options.rate))
    lines = [f"{'':10} {'keys':>6} {'p50 ms':>8} {'p99 ms':>8} {'most ms':>8} {'cpu p50':>8} {'cpu p99':>8}"]
    for name, measured in (("quiet", quiet), ("stream", loud)):
        lines.append(
            f"{name:10} {len(measured.latencies_ms):>6} {measured.share(50):>8.1f} {measured.share(99):>8.1f} "
            f"{max(measured.latencies_ms):>8.1f} {measured.cpu_share(50):>8.1f} {measured.cpu_share(99):>8.1f}"
        )
    early = next((size for passed, size in loud.memory_mib if passed >= min(10.0, options.seconds / 3)), 0.0)
    late = loud.memory_mib[-1][1]
    lines.append(f"events written {written:,} ({written / options.seconds:,.0f}/s), newest step on the screen {step:,}")
    lines.append(f"memory {early:.1f} MiB at 10 s, {late:.1f} MiB at the end ({late - early:+.1f} MiB)")
    lines.append(f"p99 {loud.share(99) / max(quiet.share(99), 0.001):.2f} x that of the quiet screen")
    lines.append(f"goal: p99 under {_GOAL_P99_MS:.0f} ms: {'met' if loud.share(99) < _GOAL_P99_MS else 'NOT met'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
