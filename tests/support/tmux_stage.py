"""A terminal that a script uses as a person does: tmux takes the keys and shows the screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.connections import python_path

TMUX = shutil.which("tmux")
PROMPT = "ready$"
_PACE_S = 0.4
_HIDDEN_S = 2.0
"""A field without a text cursor has the focus by then."""


class Tmux:
    """A shell in a window of a tmux server of its own; `tunefare` is this source tree's."""

    def __init__(self, folder: Path, *, size: tuple[int, int] = (120, 40), environment: Mapping[str, str]) -> None:
        """
        Args:
            folder: working directory, with `bin` for the command.
            size: columns and lines.
            environment: is put over this process' own.
        """
        assert TMUX is not None, "tmux is not installed"
        self._socket = folder / "tmux.socket"
        (folder / "bin").mkdir()
        command = folder / "bin" / "tunefare"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m manager.cli "$@"\n')
        command.chmod(0o755)
        # A shell of root does not take its prompt from the environment.
        settings = folder / "shrc"
        settings.write_text(f"PS1='{PROMPT} '\n")
        self._environment = {
            **os.environ,
            "PYTHONPATH": python_path(),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "ENV": str(settings),
            "LC_ALL": "C.UTF-8",
            **environment,
        }
        self._environment.pop("TMUX", None)
        width, height = map(str, size)
        # Without a file of settings: a user's own prefix or theme is not ours to test.
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "-c", str(folder), "sh")

    def screen(self) -> str:
        """What stands on the screen now."""
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names: `Enter`, `Tab`, `C-l`, `q`; no faster than a person."""
        self._tmux("send-keys", *keys)
        time.sleep(_PACE_S)

    def type(self, text: str) -> None:
        """Type a text."""
        self._tmux("send-keys", "-l", text)

    def wait_until(self, is_so: Callable[[str], bool], *, what: str, timeout_s: float = 120) -> str:
        """Look until the screen satisfies a condition; gives the screen."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            shown = self.screen()
            if is_so(shown):
                return shown
            assert time.monotonic() < deadline_s, f"waited {timeout_s:.0f} s for {what}; the screen:\n{shown}"
            time.sleep(0.2)

    def wait_for(self, *words: str, timeout_s: float = 120) -> str:
        """Look until all words stand on the screen; gives the screen."""
        return self.wait_until(
            lambda shown: all(word in shown for word in words), what=" and ".join(words), timeout_s=timeout_s
        )

    def tab(self) -> None:
        """Go to the next field; returns when the cursor is there, or has not moved for a while (it may be hidden)."""
        before = self._cursor()
        self.press("Tab")
        deadline_s = time.monotonic() + _HIDDEN_S
        while self._cursor() == before and time.monotonic() < deadline_s:
            time.sleep(0.1)

    def _cursor(self) -> str:
        return self._tmux("display-message", "-p", "#{cursor_x},#{cursor_y}")

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run(self._command("kill-server"), env=self._environment, capture_output=True, check=False)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments), env=self._environment, capture_output=True, check=True, text=True
        )
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        assert TMUX is not None
        return [TMUX, "-S", str(self._socket), *arguments]
