"""What `tunefare doctor` says about SkyPilot: looked at from outside, without starting anything that stays."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.config import without_password
from manager.errors import how_to_install
from manager.launch.managed_check import ManagedCheck, managed_of
from manager.launch.sky_worker import SkyPilotError, SkyWorker

CHECK_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyCheck:
    """The state of SkyPilot on this machine."""

    installed: bool
    """Whether Python finds the package."""
    version: str | None
    """Of the installed package; None when it is not installed."""
    api_server: str | None
    """healthy, unhealthy (not running: the first launch starts it), version_mismatch or needs_auth; None: unknown."""
    endpoint: str | None
    """Address of the API server; None: unknown."""
    api_server_is_local: bool | None
    """None: unknown. Files come back from a machine only through a local API server."""
    clouds: tuple[str, ...] | None
    """Enabled clouds as SkyPilot last checked them; None: not known, the API server does not run."""
    problem: str | None
    """What does not work, in one sentence; None: nothing found."""
    hint: str | None
    """What to do about it."""
    managed: ManagedCheck | None = None
    """Whether preempted machines would be replaced; None: not asked."""


def check_sky(
    *, worker: SkyWorker | None = None, timeout_s: float = CHECK_TIMEOUT_S, log_path: Path | None = None
) -> SkyCheck:
    """Ask SkyPilot how it is, at most `timeout_s` long; never raises and starts no API server.

    Args:
        worker: asked instead of a new one.
        timeout_s: for the whole question.
        log_path: where what SkyPilot says is appended; None: nowhere.
    """
    if importlib.util.find_spec("sky") is None:
        return _bad(None, "SkyPilot is not installed", f"{how_to_install('sky').capitalize()}.")
    version = _version()
    asked = worker or SkyWorker(log_path=log_path)
    try:
        answer = asked.call("check", {}, timeout_s=timeout_s)
    except SkyPilotError as error:
        return _bad(version, error.message, "Run `sky api info` and `sky check` to see more.")
    finally:
        asked.close()
    clouds = answer["clouds"]
    problem, hint = _trouble(answer)
    return SkyCheck(
        installed=True,
        version=answer["version"],
        api_server=answer["api_server"],
        endpoint=answer.get("endpoint"),
        api_server_is_local=answer["api_server_is_local"],
        clouds=None if clouds is None else tuple(clouds),
        problem=problem,
        hint=hint,
        managed=managed_of(answer["managed"]) if "managed" in answer else None,
    )


def _trouble(answer: dict[str, Any]) -> tuple[str | None, str | None]:
    """What does not work, and what to do about it."""
    state, is_local = answer["api_server"], answer["api_server_is_local"]
    if not is_local and state != "healthy":
        where = without_password(answer.get("endpoint") or "another machine")
        log_in = f"Log in anew: `sky api login -e {where}`." if state == "needs_auth" else "Ask whoever runs it."
        how = "" if state == "unhealthy" else f" as it should: {state}"
        return f"the API server at {where} does not answer{how}", f"{log_in} Or unset `api_server`."
    if state not in ("healthy", "unhealthy"):
        return f"the API server answers '{state}'", "Run `sky api stop` and try again."
    if answer["clouds"] == []:
        return "no cloud is enabled", "Run `sky check`: it says what each cloud needs."
    return None, None


def _version() -> str | None:
    try:
        return importlib.metadata.version("skypilot")
    except importlib.metadata.PackageNotFoundError:
        return None


def _bad(version: str | None, problem: str, hint: str) -> SkyCheck:
    return SkyCheck(
        installed=version is not None,
        version=version,
        api_server=None,
        endpoint=None,
        api_server_is_local=None,
        clouds=None,
        problem=problem,
        hint=hint,
    )
