"""The command line in this process, in a folder and a home of its own: quicker than a process per command."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.cli.main import main
from tests.support.cli import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Runs `tunefare` in `folder`."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str | Path, stdin: str = "") -> Done:
        """Run a command to its end."""
        with self.monkeypatch.context() as patched:
            patched.chdir(self.folder)
            patched.setenv("HOME", str(self.folder))
            patched.setenv("TUNEFARE_HOME", str(self.folder / "home"))
            patched.setattr(sys, "argv", ["tunefare", *map(str, arguments)])
            patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
            with pytest.raises(SystemExit) as ended:
                main()
        said = self.capsys.readouterr()
        return Done(code=int(ended.value.code or 0), stdout=said.out, stderr=said.err)

    def good(self, *arguments: str | Path, stdin: str = "") -> str:
        """Run a command that has to succeed; gives what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 0, done.stderr
        return done.stdout
