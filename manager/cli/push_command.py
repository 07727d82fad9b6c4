"""`tunefare push`: a tuned model goes to the hub, after its target was confirmed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.cli.runs_command import RunArgument
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context
from manager.units import format_bytes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push")(push)


def push(
    run: RunArgument,
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Repository of the hub; made where there is none.")],
    public: Annotated[
        bool, typer.Option("--public/--private", help="Who can see a new repository; private by default.")
    ] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter alone, of lora and qlora.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Also where the repository holds files already.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Push a tuned model with its card to the hub (HF_TOKEN, or the token of `hf auth login`)."""
    from manager.service import pushing  # the ledger's libraries: `--help` must not wait for them

    context = open_context()
    order = pushing.push_order(context, run, repo, private=not public, adapter=adapter, update=update)
    kind = "private" if order.private else "PUBLIC: everybody can see it"
    narrate(f"{order.run_id}: {order.folder} ({format_bytes(order.total_bytes)})")
    narrate(f"goes to {order.endpoint}/{order.repo} ({kind})")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "nothing is pushed without a confirmation, and standard input is no terminal", hint="confirm with --yes"
            )
        typer.confirm("push?", default=False, abort=True, err=True)
    done = pushing.push(context, order, on_progress=narrate)
    if as_json:
        emit_json(
            {
                "schema": 1,
                "run_id": order.run_id,
                "url": done.url,
                "commit": done.commit,
                "files": done.files,
                "bytes": done.total_bytes,
            }
        )
    else:
        emit(done.url)
        narrate(f"{done.files} files, {format_bytes(done.total_bytes)}, commit {done.commit}")
    return ExitCode.DONE
