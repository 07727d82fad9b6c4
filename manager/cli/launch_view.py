"""The terms of a launch and the question about them, which ends with a yes or a name; it never costs before that."""

from __future__ import annotations

import sys

import typer

from manager.cli.output import narrate
from manager.errors import UsageError
from manager.service.launch_terms import LaunchTerms, detail_lines, money_lines


def confirm(terms: LaunchTerms) -> None:
    """Say the terms and ask.

    Raises:
        UsageError: nobody can answer, or the name that was typed is another.
        typer.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is launched without a confirmation, and standard input is no terminal",
            hint="confirm on the command line: --yes --max-usd 5",
        )
    for line in (*money_lines(terms), "", *detail_lines(terms)):
        narrate(line)
    if terms.needs_typed_confirmation is None:
        typer.confirm("launch?", default=False, abort=True, err=True)
        return
    narrate(f"{terms.typed_because}: type the run's name to launch it")
    typed = typer.prompt(f"name ({terms.needs_typed_confirmation})", default="", show_default=False, err=True)
    if typed.strip() != terms.needs_typed_confirmation:
        raise UsageError(
            f"{typed.strip()!r} is not {terms.needs_typed_confirmation!r}; nothing was launched",
            hint="type the name, or raise the setting confirm_above_usd",
        )
