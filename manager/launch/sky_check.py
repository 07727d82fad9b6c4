"""What `tunefare doctor` says about SkyPilot: looked at from outside, without starting anything that stays."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from manager.errors import how_to_install
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
    api_server_is_local: bool | None
    """None: unknown. Files come back from a machine only through a local API server."""
    clouds: tuple[str, ...] | None
    """Enabled clouds as SkyPilot last checked them; None: not known, the API server does not run."""
    problem: str | None
    """What does not work, in one sentence; None: nothing found."""
    hint: str | None
    """What to do about it."""


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
    problem, hint = None, None
    if not answer["api_server_is_local"]:
        problem = "the API server is on another machine, from which results cannot be fetched"
        hint = "Unset SKYPILOT_API_SERVER_ENDPOINT and remove `api_server` from ~/.sky/config.yaml."
    elif answer["api_server"] not in ("healthy", "unhealthy"):
        problem, hint = f"the API server answers '{answer['api_server']}'", "Run `sky api stop` and try again."
    elif clouds == []:
        problem, hint = "no cloud is enabled", "Run `sky check`: it says what each cloud needs."
    return SkyCheck(
        installed=True,
        version=answer["version"],
        api_server=answer["api_server"],
        api_server_is_local=answer["api_server_is_local"],
        clouds=None if clouds is None else tuple(clouds),
        problem=problem,
        hint=hint,
    )


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
        api_server_is_local=None,
        clouds=None,
        problem=problem,
        hint=hint,
    )
