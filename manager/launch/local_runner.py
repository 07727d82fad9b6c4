"""The runner: a small process between the client and the local task; it outlives the client.

Started by file name (`python -P local_runner.py ...`) as leader of a session of its own. It writes its identity before
the task starts, so that a client that died in between is no loss; it writes down every descendant, keeps the longest
duration, and writes the task's exit status. It never ends on SIGTERM: the task gets the signal, and the runner waits.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import psutil

PID_FILE = "pid.json"
PROCESSES_FILE = "processes.jsonl"
TASK_FILE = "pid"
"""The task's own process, for the dead-man timer; on a rented machine it has the same name."""
EXIT_FILE = "exit.json"
POLL_S = 0.25
"""Between two looks at the task and its descendants."""
CANNOT_START = 127
"""Exit status of a task whose interpreter does not exist, as a shell gives it."""
KILL_AFTER_S = 30.0
"""Between SIGTERM at the longest duration and SIGKILL."""


def main(arguments: list[str]) -> int:
    """Run one task to its end; the exit status is 0 when its end was written down."""
    parser = argparse.ArgumentParser(prog="local_runner")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--max-duration-s", type=float, default=None)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    # A handler, not SIG_IGN: an ignored signal would stay ignored in the task.
    signal.signal(signal.SIGTERM, _stay)
    signal.signal(signal.SIGHUP, _stay)
    signal.signal(signal.SIGINT, _stay)
    _claim(options.run_dir)
    return _run(options.run_dir, command, options.max_duration_s)


def _stay(_signum: int, _frame: FrameType | None) -> None:
    """Outlive the signal that ends the task."""


def _claim(run_dir: Path) -> None:
    """Write the pid file; a second runner for the same folder fails here, before it starts anything."""
    me = psutil.Process()
    record = json.dumps({"pid": me.pid, "created_at_s": me.create_time(), "session": os.getsid(0)})
    temporary = run_dir / f"{PID_FILE}.{me.pid}"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(record + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link fails when the name exists and appears complete: neither a double start nor half a file.
        os.link(temporary, run_dir / PID_FILE)
    finally:
        temporary.unlink()


def _run(run_dir: Path, command: list[str], max_duration_s: float | None) -> int:
    started = time.monotonic()
    try:
        # The runner's own output goes to the log already; the task inherits it.
        task = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=run_dir)
    except OSError as error:
        sys.stderr.write(f"the task cannot be started: {error}\n")
        _write_exit(run_dir, CANNOT_START)
        return 0
    _write_task(run_dir, task.pid)
    recorder = _Recorder(run_dir / PROCESSES_FILE)
    while True:
        recorder.look()
        try:
            returncode = task.wait(timeout=POLL_S)
            break
        except subprocess.TimeoutExpired:
            pass
        if max_duration_s is not None and time.monotonic() - started >= max_duration_s:
            returncode = _end(task)
            break
    _write_exit(run_dir, returncode)
    # What the task left behind in this group has lost its parent; the runner itself stays for SIGTERM.
    os.killpg(0, signal.SIGTERM)
    return 0


def _write_task(run_dir: Path, pid: int) -> None:
    """Name the task as the dead-man timer reads it: pid and the system's count of the moment of its start."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        (run_dir / TASK_FILE).write_text(f"{pid} {started}\n", encoding="ascii")
    except OSError as error:
        # Not on Linux, where there is no such timer; else it ends the whole run at its limit.
        sys.stderr.write(f"tunefare runner: {error}\n")


def _end(task: subprocess.Popen[bytes]) -> int:
    task.send_signal(signal.SIGTERM)
    try:
        return task.wait(timeout=KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        task.kill()
        return task.wait()


def _write_exit(run_dir: Path, returncode: int) -> None:
    temporary = run_dir / f"{EXIT_FILE}.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"returncode": returncode, "at_s": time.time()}) + "\n")
        file.flush()
        # Else a loss of power may leave an empty file under the final name.
        os.fsync(file.fileno())
    temporary.replace(run_dir / EXIT_FILE)


class _Recorder:
    """Writes each descendant down once, so that it is found even after it left group, session and environment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[int, float]] = set()
        self._me = psutil.Process()

    def look(self) -> None:
        """Append the descendants that are new."""
        lines = []
        for child in self._me.children(recursive=True):
            try:
                key = (child.pid, child.create_time())
            except psutil.NoSuchProcess:
                continue
            if key not in self._seen:
                self._seen.add(key)
                lines.append(json.dumps({"pid": key[0], "created_at_s": key[1]}) + "\n")
        if not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            # A full disk must not end the guard of the task: session and mark still find its processes.
            sys.stderr.write(f"tunefare runner: {error}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
