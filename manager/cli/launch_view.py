"""The terms of a launch as text, and the question that ends with a yes or a name; it never costs before that."""

from __future__ import annotations

import sys

import typer

from manager.cli.output import narrate
from manager.errors import UsageError
from manager.service.launch_terms import LaunchTerms
from manager.units import format_usd


def terms_lines(terms: LaunchTerms) -> list[str]:
    """What is asked about, a line each; money first."""
    cap = "none: set one with --max-usd" if terms.cap_usd is None else format_usd(terms.cap_usd)
    lines = [f"expected {terms.expected_text}, cap {cap}, at most {format_usd(terms.worst_usd)}"]
    lines += [f"  {format_usd(line.usd)}  {line.text}" for line in terms.worst]
    lines.append(f"without this machine at most {format_usd(terms.alone.usd)}: {terms.alone.text}")
    if terms.budget is not None:
        lines.append(f"budget: {terms.budget}")
    lines.append(f"where: {terms.where}")
    lines += [f"  or {fallback}" for fallback in terms.fallbacks]
    lines += [f"guard {guard}" for guard in terms.guards]
    lines += [f"teardown: {sentence}" for sentence in terms.teardown]
    return lines


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
    for line in terms_lines(terms):
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
