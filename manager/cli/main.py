"""Entry point: assembles the commands, turns every error into one line, a hint and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

import typer
from typer.exceptions import Abort, TyperException

from manager import __version__
from manager.cli import (
    assumptions_command,
    attach_command,
    budget_command,
    data_command,
    diff_command,
    fetch_command,
    ledger_command,
    leftovers_command,
    memory_command,
    models_command,
    panic_command,
    plan_command,
    plans_command,
    preflight_command,
    prices_command,
    push_command,
    quota_command,
    report_command,
    requote_command,
    run_command,
    runs_command,
    setup_command,
    tui_command,
    watch_command,
    worth_command,
)
from manager.cli.output import narrate
from manager.errors import ExitCode, TunefareError
from manager.paths import find_home
from manager.service.failures import DEBUG_VARIABLE
from manager.service.private_state import keep_private, tighten

app = typer.Typer(
    name="tunefare",
    help="Know the fare before you ride: plan, launch and report fine-tuning runs by dollars to a finished job.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunefare {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


setup_command.register(app)
assumptions_command.register(app)
data_command.register(app)
models_command.register(app)
plan_command.register(app)
diff_command.register(app)
plans_command.register(app)
budget_command.register(app)
ledger_command.register(app)
prices_command.register(app)
quota_command.register(app)
memory_command.register(app)
preflight_command.register(app)
run_command.register(app)
runs_command.register(app)
attach_command.register(app)
fetch_command.register(app)
panic_command.register(app)
leftovers_command.register(app)
requote_command.register(app)
watch_command.register(app)
report_command.register(app)
push_command.register(app)
worth_command.register(app)
tui_command.register(app)


def main() -> None:
    """Run the command line and exit with a code of `ExitCode`."""
    keep_private()
    for note in tighten(find_home(os.environ)):
        narrate(f"note: {note}")
    sys.exit(_guarded())


def _guarded() -> int:
    try:
        result = app(None if sys.argv[1:] else _without_arguments(), standalone_mode=False)
    except TunefareError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except Abort:
        return _fail("interrupted", None, ExitCode.INTERRUPTED)
    except TyperException as error:
        return _fail(error.format_message(), "see `tunefare --help`", ExitCode.USAGE)
    except KeyboardInterrupt:
        return _fail("interrupted", None, ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); that is no error, but the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:  # the last resort: a user sees a sentence, never a traceback
        return _fail(
            f"internal error: {type(error).__name__}: {error}",
            "this is a defect of tunefare; run again with `tunefare --debug ...` and report what it prints",
            ExitCode.TASK_FAILED,
        )
    return result if isinstance(result, int) else ExitCode.DONE


def _without_arguments() -> list[str]:
    """The screens where there is a terminal, else what the commands are."""
    return ["tui"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--help"]


def _fail(message: str, hint: str | None, code: ExitCode) -> int:
    # A terminal that was closed takes no words; the exit code is the last one.
    with suppress(OSError):
        if os.environ.get(DEBUG_VARIABLE):
            narrate(traceback.format_exc())
        narrate(f"tunefare: error: {message}")
        if hint:
            narrate(f"hint: {hint}")
    return code
