"""A command in a terminal of its own: a real process under a pseudo-terminal, as a terminal emulator would run it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_ON = b"\x1b[?25h"
PASTE_OFF, MOUSE_OFF, FOCUS_OFF = b"\x1b[?2004l", b"\x1b[?1003l", b"\x1b[?1004l"


class Terminal:
    """Runs `python -m manager.cli ARGUMENTS` and reads what it writes."""

    def __init__(
        self, *arguments: str, folder: Path, size: tuple[int, int] = (100, 30), environment: Mapping[str, str]
    ) -> None:
        """
        Args:
            arguments: of the command line.
            folder: working directory.
            size: columns and lines.
            environment: is put over this process' own.
        """
        self.output = b""
        self.code: int | None = None
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.modes_before = termios.tcgetattr(slave)
        self._slave = slave
        self.pid = self._spawn(arguments, folder, {**os.environ, **environment}, slave)

    def _spawn(self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], slave: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:  # the child: nothing here may return
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(slave, number)
            os.closerange(3, 256)
            os.chdir(folder)
            for heard in (signal.SIGINT, signal.SIGHUP):
                signal.signal(heard, signal.SIG_DFL)
            os.execve(sys.executable, [sys.executable, "-m", "manager.cli", *arguments], environment)
        finally:
            os._exit(127)

    @property
    def modes(self) -> list[object]:
        """How the terminal treats what is typed now."""
        return termios.tcgetattr(self._slave)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def read_until(self, is_so: Callable[[bytes], bool], *, what: str, timeout_s: float = 60) -> bytes:
        """Read until the output so far satisfies a condition."""
        deadline_s = time.monotonic() + timeout_s
        while not is_so(self.output):
            assert time.monotonic() < deadline_s, f"waited for {what}; the end of the output: {self.output[-2000:]!r}"
            self._read(0.1)
        return self.output

    def wait(self, *, timeout_s: float = 30) -> int:
        """Read on until the process has ended; gives its exit code, a signal's number negative."""
        deadline_s = time.monotonic() + timeout_s
        while self.code is None:
            assert time.monotonic() < deadline_s, f"still runs; the end of the output: {self.output[-2000:]!r}"
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        self._read(0.1)
        return self.code

    def hang_up(self) -> None:
        """Close the terminal's window: nobody reads any more, and the kernel tells the process."""
        os.close(self._slave)
        os.close(self._master)
        self._slave = self._master = -1

    def wait_unread(self, *, timeout_s: float = 30) -> int:
        """Wait for the end of a process whose terminal is gone."""
        deadline_s = time.monotonic() + timeout_s
        while self.code is None:
            assert time.monotonic() < deadline_s, "still runs without a terminal"
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        return self.code

    def close(self) -> None:
        """End what is left."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self, timeout_s: float) -> None:
        if select.select([self._master], [], [], timeout_s)[0]:
            with suppress(OSError):
                self.output += os.read(self._master, 65536)
