"""`watch`: the monitor at home, in the foreground, once, or started by the system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.errors import ExitCode, TeardownUnconfirmedError, UsageError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.service.watch_kept import WatchStatus
    from manager.service.watching import Round


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", help="Between two looks, 5 or more.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once; exit code 5 where a run is left alone.")] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Have systemd (or cron) start it, now and from now on.")
    ] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Undo --install.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Whether one is at work, and what it saw last.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once and --status: one JSON object.")] = False,
    timer: Annotated[
        bool, typer.Option("--timer", hidden=True, help="With --once: the system asks, each minute, and nobody reads.")
    ] = False,
) -> int:
    """Look after every run that may be billed: take over or end those that nobody supervises."""
    from manager.service.watch_loop import LEAST_S, look_once  # the ledger's libraries, only here
    from manager.service.watch_loop import watch as watch_on

    if sum((once, install, uninstall, status)) > 1:
        raise UsageError("--once, --install, --uninstall and --status are four commands", hint="give one of them")
    if as_json and not (once or status):
        raise UsageError("--json is for --once and --status", hint="tunefare watch --once --json")
    if timer and not once:
        raise UsageError("--timer is for --once", hint="`tunefare watch --install` writes it into the crontab")
    if every < LEAST_S:
        raise UsageError(f"--every {every:g} is too often", hint=f"{LEAST_S:.0f} s at least")
    context = open_context()
    if install or uninstall:
        return _install(context, every_s=every, undo=uninstall)
    if status:
        return _status(context, as_json=as_json)
    if once:
        return _once(look_once(context, narrate, by_timer=timer), as_json=as_json)
    watch_on(context, every_s=every, tell=narrate)
    return ExitCode.DONE


def _install(context: Context, *, every_s: float, undo: bool) -> int:
    from manager.service import watch_install  # as above

    told = watch_install.uninstall(context) if undo else watch_install.install(context, every_s=every_s)
    for line in told:
        narrate(line)
    return ExitCode.DONE


def _once(found: Round, *, as_json: bool) -> int:
    from manager.service.watching import round_to_json  # as above

    if as_json:
        emit_json(round_to_json(found))
    elif not found.runs:
        narrate("no run may be billed")
    if not found.is_safe:
        raise TeardownUnconfirmedError(
            "not every run that may be billed is supervised",
            hint="`tunefare watch` tries again, `tunefare panic` ends them; look at the provider's console",
        )
    return ExitCode.DONE


def _status(context: Context, *, as_json: bool) -> int:
    from dataclasses import asdict  # as above

    from manager.service.watch_install import installed
    from manager.service.watch_loop import unsafe, watch_status

    found, started = watch_status(context), installed(context)
    is_installed = started is not None
    if as_json:
        late, safe = found.is_late(context.clock(), is_installed=is_installed), not (found.error or unsafe(found))
        how = None if started is None else asdict(started)
        emit_json({"schema": 1, **asdict(found), "late": late, "safe": safe, "installed": how})
        return ExitCode.DONE
    for line in status_lines(context, found, is_installed=is_installed):
        emit(line)
    emit(f"started by {started.how}: {started.where}" if started else "not started by the system: --install")
    return ExitCode.DONE


def status_lines(context: Context, found: WatchStatus, *, is_installed: bool) -> tuple[str, ...]:
    """The status in words."""
    from manager.units import format_duration  # as above

    now_s = context.clock()
    if found.is_running:
        lines = [f"a watcher is at work{'' if found.pid is None else f', process {found.pid}'}"]
    else:
        lines = ["no watcher is at work"]
    late = ", which is LATE" if found.is_late(now_s, is_installed=is_installed) else ""
    if found.looked_at_s is None:
        return (*lines, f"it has never looked{late}")
    lines.append(f"looked last {format_duration(max(0.0, now_s - found.looked_at_s))} ago{late}")
    if found.error is not None:
        lines.append(f"could not look: {found.error}")
    for run in (found.last or {}).get("runs", ()):
        lines.append(f"  {run['run_id']}: {run['action']}, {run['state']}: {run['detail']}")
    if found.providers is not None:
        asked = f"providers were asked last {format_duration(max(0.0, now_s - found.providers.at_s))} ago"
        lines.append(f"{asked}: {'LEFT THERE, or silent' if found.providers.left else 'nothing is left there'}")
        lines += [f"  {sentence}" for sentence in found.providers.left]
    return tuple(lines)
