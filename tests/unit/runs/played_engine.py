"""An engine of the tests that plays machines and bad providers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from manager.launch.engine import Evidence, Handle, Launched, LaunchRequest, MachineState
from tasks.protocol import Event
from tests.unit.runs.samples import event


class PlayedEngine:
    """An engine without machines: each call is noted, and fails where the test wants it."""

    name = "played"

    def __init__(self, **fail: BaseException) -> None:
        self.fail = fail
        self.calls: list[str] = []
        self.confirm_after = 1
        self.machine = MachineState.FAILED
        self.items: list[Event | str] = [event(0), "a line", event(1)]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail[name]

    def reserve(self, request: LaunchRequest) -> Handle:
        self._call("reserve")
        return Handle(engine=self.name, run_dir=str(request.run_dir), name=request.run_id, details={})

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        self._call("submit")
        return Launched(
            handle=handle, offer=request.offers[0], billing_started_at_s=time.time() - 3600, failed_attempts=()
        )

    def status(self, _handle: Handle) -> MachineState:
        self._call("status")
        return self.machine

    def stream(self, _handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from (item for item in self.items if isinstance(item, str) or item.seq > after_seq)
        self._call("stream")

    def cancel(self, _handle: Handle, *, grace_s: float) -> None:
        self._call("cancel")

    def fetch(self, _handle: Handle) -> None:
        self._call("fetch")

    def down(self, _handle: Handle) -> None:
        self._call("down")

    def evidence(self, _handle: Handle) -> Evidence:
        self._call("evidence")
        confirmed = self.calls.count("evidence") >= self.confirm_after
        left = () if confirmed else ("i-123",)
        return Evidence(confirmed=confirmed, asked_at_s=time.time(), source="played", answer="asked", left=left)
