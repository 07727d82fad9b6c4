"""Files that a command is asked to write: told where they lie, and that their folder is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.cli.output import write_told


def test_a_new_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a" / "b.html"

    def write() -> None:
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")

    write_told("report:", file, write)
    write_told("report:", file, write)
    assert capsys.readouterr().err.splitlines() == [
        f"report: {file} (in the new folder {tmp_path / 'a'})",
        f"report: {file}",
    ]
