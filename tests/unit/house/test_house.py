"""Rules of the house that a machine can see."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manager.cli.main import app

ROOT = Path(__file__).parents[3]
SOURCES = sorted(
    file
    for package in ("manager", "tasks", "tui", "templates", "tests", "docs")
    for file in (ROOT / package).rglob("*.py")
)
HEAVY = ("torch", "transformers", "accelerate", "peft", "datasets", "sky", "pandas", "numpy", "sklearn")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_no_file_is_too_long() -> None:
    limit = 400
    too_long = [file.name for file in SOURCES if file.read_text(encoding="utf-8").count("\n") > limit]
    assert too_long == []


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["run", "--help"], ["runs"]])
def test_the_command_line_loads_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['tunefare', *{arguments!r}]\n"
        "from manager.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout + done.stderr


def documented_commands() -> list[tuple[str, str]]:
    """Every `tunefare ...` line in a shell block of README and docs."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                command = line.removeprefix("$ ").split("  #")[0].strip()
                if command.startswith("tunefare "):
                    found.append((document.name, command))
    return found


def test_documents_show_commands() -> None:
    assert len(documented_commands()) >= 5


@pytest.mark.parametrize(("document", "command"), documented_commands())
def test_documented_commands_exist(document: str, command: str) -> None:
    """Asks the command's own help for each word, without running it."""
    words = shlex.split(command)[1:]
    path = words[: 2 if words[0] == "config" else 1]
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, f"{document}: no such command in `{command}`"
    for word in words:
        if word.startswith("-"):
            assert word in shown.output, f"{document}: no option {word} in `{command}`"
