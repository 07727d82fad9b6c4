"""Before a launch elsewhere local data are staged in the run's bucket; after it the bucket is left, where asked for."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

from manager.errors import EngineError
from manager.launch.engine import LaunchRequest
from manager.launch.kept_results import leave_bucket
from manager.launch.staging import Staged, local_data, stage, with_staged
from manager.runs.updates import LogUpdate, OnUpdate, TransferUpdate
from manager.service.context import Context
from manager.units import format_bytes
from tasks.stores.errors import StoreError

_TELL_EVERY_S = 0.5
_STOP_S = 10.0
"""For requests that are under way."""


def stage_request(context: Context, request: LaunchRequest, on_update: OnUpdate) -> LaunchRequest:
    """The request with its local data in the run's bucket; as it is where it has none, or the data is not here.

    An end in the middle (Ctrl-C too) has started nothing that is billed but what lies in the bucket; the next launch
    goes on.

    Args:
        context: surroundings.
        request: of a machine elsewhere.
        on_update: hears of progress, from this thread.

    Raises:
        EngineError: the data cannot be read, or the bucket does not take it; nothing was launched.
    """
    store = request.job.store
    if store is None:
        return request
    state_dir = context.home.cache_dir / "staging"
    data = local_data(request.job, state_dir=state_dir)
    if data is None:
        return request
    bucket = store.uri.rpartition("/")[0]
    progress = _Progress(request.run_id, bucket, context.clock)
    failure: list[BaseException] = []
    result: list[Staged] = []

    def work() -> None:
        try:
            result.append(stage(data, bucket, state_dir=state_dir, on_progress=progress.hear))
        except BaseException as error:  # Raised where the work was asked for.
            failure.append(error)

    # In a thread of its own: updates are told from the caller's, and a signal is heeded at once.
    worker = threading.Thread(target=work, name="staging", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(_TELL_EVERY_S)
            progress.tell(on_update)
    except BaseException:
        progress.stop()
        worker.join(_STOP_S)
        raise
    if failure:
        raise failure[0]
    (staged,) = result
    size = format_bytes(staged.size_bytes)
    how = f"{size} sent" if staged.sent_bytes else f"{size}, there already: nothing was sent"
    on_update(LogUpdate(run_id=request.run_id, text=f"data staged at {staged.uri} ({how})", source="manager"))
    return dataclasses.replace(request, job=with_staged(request.job, staged))


def settle_bucket(run_id: str, run_dir: Path, on_update: OnUpdate) -> None:
    """After a run: its folder leaves the bucket where home alone is to have the results; what was done is told."""
    try:
        told = leave_bucket(run_dir)
    except EngineError as error:
        told = f"WARNING: {error.message}; {error.hint}"
    if told is not None:
        on_update(LogUpdate(run_id=run_id, text=told, source="manager"))


class _Progress:
    """What uploading threads say, told by the thread that watches."""

    def __init__(self, run_id: str, bucket: str, clock: Callable[[], float]) -> None:
        self._run_id = run_id
        self._bucket = bucket
        self._clock = clock
        self._started_s = time.monotonic()
        self._first_bytes: int | None = None
        self._heard: tuple[int, int] | None = None
        self._told: tuple[int, int] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let the transfer end with the part that is under way."""
        self._stopped = True

    def hear(self, done_bytes: int, of_bytes: int) -> None:
        """From any thread.

        Raises:
            StoreError: it is stopped.
        """
        if self._stopped:
            raise StoreError("interrupted", hint="What was sent is kept.")
        if self._first_bytes is None:
            # What an earlier launch has sent is no speed of this one.
            self._first_bytes = done_bytes
        self._heard = done_bytes, of_bytes

    def tell(self, on_update: OnUpdate) -> None:
        """What is new."""
        heard = self._heard
        if heard is None or heard == self._told:
            return
        self._told = heard
        done_bytes, of_bytes = heard
        moved, passed_s = done_bytes - (self._first_bytes or 0), time.monotonic() - self._started_s
        on_update(
            TransferUpdate(
                run_id=self._run_id,
                at_s=self._clock(),
                what="data",
                to=self._bucket,
                done_bytes=done_bytes,
                of_bytes=of_bytes,
                bytes_per_s=moved / passed_s if moved > 0 and passed_s > 0 else None,
            )
        )
