"""Price catalogs through SkyPilot: downloaded into a folder apart, then put where SkyPilot reads them.

Owns the worker process, one time limit per cloud and what a failure means in a sentence. Whether a download is good
is not for it to say.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from manager.errors import EngineError, how_to_install
from manager.launch.sky_worker import SkyPilotError, SkyWorker

HOSTED_CLOUDS = (
    "aws",
    "azure",
    "cudo",
    "do",
    "fluidstack",
    "gcp",
    "hyperbolic",
    "ibm",
    "lambda",
    "mithril",
    "nebius",
    "oci",
    "paperspace",
    "primeintellect",
    "runpod",
    "scp",
    "seeweb",
    "shadeform",
    "vast",
    "verda",
    "yotta",
)
"""Clouds whose machines SkyPilot 0.14 lists in a hosted `vms.csv`."""
_INSTALL_TIMEOUT_S = 30.0
_STATUS = re.compile(r"\b(\d{3}) (?:Client|Server) Error: (.*?) for url")


class SkyCatalogs:
    """Downloads into one folder; use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        worker: SkyWorker | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args:
        folder: empty; SkyPilot's worker process keeps everything that it writes in it.
        url: instead of SkyPilot's own address of the catalogs.
        worker: asked instead of a new one.
        give_up: asked while a download is waited for; true ends the wait.

        Raises:
            EngineError: SkyPilot is not installed.
        """
        if worker is None and importlib.util.find_spec("sky") is None:
            raise EngineError(
                "SkyPilot is not installed: price catalogs are downloaded through it", hint=how_to_install("sky")
            )
        self._folder = folder.resolve()
        self._url = url
        self._give_up = give_up
        self._worker = worker or SkyWorker(log_path=self._folder / "sky.log")

    def __enter__(self) -> SkyCatalogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()

    def download(self, cloud: str, *, timeout_s: float) -> tuple[Path, str]:
        """The downloaded catalog and where it came from.

        Raises:
            EngineError: it could not be downloaded in time; the message says why in few words.
        """
        args = {"cloud": cloud, "folder": str(self._folder), "url": self._url}
        try:
            answer = self._worker.call("download_catalog", args, timeout_s=timeout_s, give_up=self._give_up)
        except SkyPilotError as error:
            raise EngineError(_reason(error, timeout_s), hint="check the network, or setting catalog_url") from error
        return Path(answer["path"]), str(answer["source"])

    def install(self, cloud: str, path: Path, directory: Path, *, replace: bool) -> bool:
        """Put a catalog into SkyPilot's folder; False when somebody has changed the one that is there, so it stays.

        Args:
            cloud: SkyPilot's name.
            path: the downloaded catalog.
            directory: SkyPilot's folder of catalogs.
            replace: also one that was changed, because it cannot be read.

        Raises:
            EngineError: it cannot be written, or another process holds SkyPilot's lock.
        """
        args = {"cloud": cloud, "path": str(path), "directory": str(directory), "replace": replace}
        try:
            return bool(self._worker.call("install_catalog", args, timeout_s=_INSTALL_TIMEOUT_S)["installed"])
        except SkyPilotError as error:
            raise EngineError(
                f"{directory / cloud} was not written: {_reason(error, _INSTALL_TIMEOUT_S)}",
                hint="check the folder's permissions and space",
            ) from error


def _reason(error: SkyPilotError, timeout_s: float) -> str:
    if error.kind == "Timeout":
        return f"no answer within {timeout_s:g} s"
    if error.kind == "Cancelled":
        return "cancelled"
    status = _STATUS.search(error.message)
    if status:
        return f"the server answered {status[1]} {status[2]}".rstrip()
    words = error.message.removeprefix("SkyPilot: ").splitlines()[0][:200]
    return f"{error.kind}: {words}" if words else error.kind
