"""Rules of the house that a machine can see."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

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
    """Parses the line as the command line would, without running it."""
    words = shlex.split(command)[1:]
    node: click.Command = typer.main.get_command(app)
    context = click.Context(node)
    while isinstance(node, click.Group):
        child = node.get_command(context, words.pop(0))
        assert child is not None, f"{document}: no such command in `{command}`"
        node = child
    node.make_context(command, words, resilient_parsing=False)
