"""Has the system start the watcher: a systemd user unit where systemd runs for the user, else a line of crontab.

Owns one unit and one line a state folder, found again by the folder's mark; whatever else stands in a crontab is left
as it is, byte for byte. Secrets of the environment are never written.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.config import BY_DEFAULT, FROM_FILE, read_config
from manager.errors import StateError, UsageError
from manager.launch.sky_worker import ENDPOINT_VARIABLE
from manager.paths import HOME_VARIABLE
from manager.service.context import Context
from manager.service.starting import write_whole
from manager.service.watch_kept import keep_installed

COMMAND_S = 30.0
"""For systemctl or crontab to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """How the watcher is started by the system."""

    how: str
    """`systemd` or `cron`."""
    where: str
    """The unit's file, or the line of crontab."""


def installed(context: Context) -> Installed | None:
    """How the system starts the watcher of this state folder; None: not at all."""
    unit = _unit_file(context)
    if unit.exists():
        return Installed(how="systemd", where=str(unit))
    line = next((line for line in _crontab(must_work=False).splitlines() if line.endswith(_mark(context))), None)
    return None if line is None else Installed(how="cron", where=line)


def install(context: Context, *, every_s: float) -> tuple[str, ...]:
    """Have the watcher started now and at each login or boot; what was done, and how it is undone.

    Raises:
        UsageError: this machine has neither systemd for the user nor cron; settings come from this shell's environment,
            which the watcher does not have.
        StateError: one of them refuses.
    """
    _refuse_environment(context)
    context.home.ensure()
    if _has_systemd():
        return _install_unit(context, every_s)
    if shutil.which("crontab") is None:
        raise UsageError(
            "neither systemd runs for this user nor is there a crontab",
            hint="keep `tunefare watch` running in a terminal of its own, or start it by the system's own means",
        )
    return _install_line(context, every_s)


def uninstall(context: Context) -> tuple[str, ...]:
    """Take back what `install` has done for this state folder; what was done.

    Raises:
        StateError: systemd or cron refuses.
    """
    done: list[str] = []
    unit = _unit_file(context)
    if unit.exists():
        if _has_systemd():
            _run(["systemctl", "--user", "disable", "--now", unit.name])
        unit.unlink()
        if _has_systemd():
            _run(["systemctl", "--user", "daemon-reload"])
        done.append(f"removed {unit}; its watcher was ended")
    before = _crontab(must_work=False)
    kept = _without_line(context, before)
    if kept != before:
        _write_crontab(kept)
        done.append("removed the line of crontab; every other line stays")
    keep_installed(context, None)
    return tuple(done) or ("nothing was installed for this state folder",)


def _refuse_environment(context: Context) -> None:
    """A watcher with other settings than this shell may look at an empty ledger and say that all is well."""
    in_file = read_config(context.home.config_file, {})
    lost = [
        value
        for value in context.config.values
        if value.origin not in (FROM_FILE, BY_DEFAULT) and value.text != in_file.text(value.setting.name)
    ]
    said = [(value.origin, value.setting.name) for value in lost]
    if context.environment.get(ENDPOINT_VARIABLE) and not in_file.text("api_server"):
        said.append((ENDPOINT_VARIABLE, "api_server"))
    if said:
        raise UsageError(
            "the watcher that the system starts does not have this shell's environment, which says otherwise than the "
            f"settings: {', '.join(variable for variable, _ in said)}",
            hint=f"keep each: `tunefare config set {said[0][1]} VALUE`; or unset the variable",
        )


def _install_unit(context: Context, every_s: float) -> tuple[str, ...]:
    unit = _unit_file(context)
    try:
        unit.parent.mkdir(parents=True, exist_ok=True)
        write_whole(unit, _unit_text(context, every_s))
    except OSError as error:
        raise StateError(f"{unit} cannot be written: {error.strerror}", hint=None) from error
    keep_installed(context, every_s)
    _run(["systemctl", "--user", "daemon-reload"])
    _run(["systemctl", "--user", "enable", "--now", unit.name])
    return (
        f"wrote {unit} and started it: it looks each {every_s:.0f} s, now and at each login",
        "to go on after a logout: loginctl enable-linger",
        "credentials in variables of this shell are not written: the watcher finds those in files",
        "undo: tunefare watch --uninstall",
    )


def _install_line(context: Context, every_s: float) -> tuple[str, ...]:
    minutes = max(1, min(59, round(every_s / 60)))
    command = f"{HOME_VARIABLE}={shlex.quote(str(context.home.root))} {shlex.join(_command('--once', '--timer'))}"
    if "\n" in command or "\r" in command:
        raise StateError(f"{command!r} cannot stand in a crontab", hint="name a state folder without line ends")
    # cron reads an unquoted % as the end of the command.
    line = f"*/{minutes} * * * * {command} >/dev/null 2>&1 ".replace("%", "\\%") + _mark(context)
    keep_installed(context, minutes * 60.0)
    before = _without_line(context, _crontab(must_work=True))
    gap = "" if not before or before.endswith("\n") else "\n"
    _write_crontab(f"{before}{gap}{line}\n")
    if line not in _crontab(must_work=True).splitlines():
        raise StateError("cron did not keep the line", hint=f"write it yourself with `crontab -e`: {line}")
    return (
        f"added a line to crontab, every other line stays: it looks each {minutes} min",
        line,
        "credentials in variables of this shell are not written: the watcher finds those in files",
        "undo: tunefare watch --uninstall",
    )


def _unit_text(context: Context, every_s: float) -> str:
    program, *arguments = map(_quoted, _command("--every", f"{every_s:.0f}"))
    # In the arguments of a command, and only there, systemd replaces variables.
    command = " ".join((program, *(word.replace("$", "$$") for word in arguments)))
    return (
        "[Unit]\n"
        "Description=tunefare watch: looks after runs that may be billed\n"
        "\n"
        "[Service]\n"
        f"ExecStart={command}\n"
        f"Environment={_quoted(f'{HOME_VARIABLE}={context.home.root}')}\n"
        f"Environment={_quoted('PATH=' + context.environment.get('PATH', '/usr/local/bin:/usr/bin:/bin'))}\n"
        "Restart=always\n"
        "RestartSec=10\n"
        "# What it starts supervises runs and outlives it.\n"
        "KillMode=process\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def _command(*options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "manager.cli", "watch", *options]


def _quoted(word: str) -> str:
    """A word as systemd reads it: no specifier, no end of the line."""
    if "\n" in word or "\r" in word:
        raise StateError(f"{word!r} cannot stand in a unit", hint="name a state folder without line ends")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _mark(context: Context) -> str:
    return f"# {_name(context)}"


def _name(context: Context) -> str:
    return f"tunefare-watch-{hashlib.sha256(str(context.home.root).encode()).hexdigest()[:8]}"


def _unit_file(context: Context) -> Path:
    config = context.environment.get("XDG_CONFIG_HOME") or str(context.user_home / ".config")
    return Path(config) / "systemd" / "user" / f"{_name(context)}.service"


def _has_systemd() -> bool:
    """Whether systemd runs for this user, not only whether it is installed."""
    if shutil.which("systemctl") is None:
        return False
    try:
        return _ask(["systemctl", "--user", "show-environment"]).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _crontab(*, must_work: bool) -> str:
    """All lines of the user's crontab; one that there is not yet is empty."""
    if shutil.which("crontab") is None:
        return ""
    done = _ask(["crontab", "-l"])
    if done.returncode == 0:
        return done.stdout
    if "no crontab" in done.stderr.lower() or not must_work:
        return ""
    raise StateError(f"crontab cannot be read: {done.stderr.strip()}", hint="nothing was changed")


def _without_line(context: Context, text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.rstrip("\n").endswith(_mark(context)))


def _write_crontab(text: str) -> None:
    done = _ask(["crontab", "-"], text)
    if done.returncode != 0:
        raise StateError(f"cron refuses: {done.stderr.strip()}", hint="the crontab is as it was")


def _run(command: Sequence[str]) -> None:
    done = _ask(command)
    if done.returncode != 0:
        raise StateError(f"`{shlex.join(command)}` failed: {done.stderr.strip()}", hint="tunefare watch --uninstall")


def _ask(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command], input=text, capture_output=True, text=True, timeout=COMMAND_S, check=False)
