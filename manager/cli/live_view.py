"""What a running job says: plain lines on standard error, or JSON lines on standard output.

A terminal that is held (Ctrl-S) or a pipe whose reader sleeps must not hold the supervision of a machine that bills:
lines are written by a thread of their own, in order, and supervision never waits for it before the run is over.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Self

from manager.cli.output import emit, narrate
from manager.cli.transfer_line import TransferLine
from manager.errors import InterruptedRunError
from manager.runs.updates import (
    ChargeUpdate,
    EventUpdate,
    EvidenceUpdate,
    LogUpdate,
    RequoteUpdate,
    StateUpdate,
    TransferUpdate,
    Update,
    update_to_json,
)
from manager.units import format_duration, format_usd, interval_usd
from tasks.protocol import Event, EventType

_STEP_INTERVAL_S = 1.0


class LiveView:
    """Prints updates of one or more runs as they come; a context manager that writes what is left at its end."""

    def __init__(self, *, steps: int | None, as_json: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._as_json = as_json
        self._clock = clock
        self._runs: set[str] = set()
        self._told_step_at_s = -_STEP_INTERVAL_S
        self._transfers = TransferLine(clock=clock)
        self._lines: queue.SimpleQueue[tuple[Callable[[str], None], str] | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._writer = threading.Thread(target=self._write, name="live-view", daemon=True)

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.put(None)
        self._writer.join()
        self._transfers.end_line()

    def update(self, update: Update) -> None:
        """Show one update.

        Raises:
            InterruptedRunError: nobody reads any more; who called ends the run in good order.
        """
        if self._error is not None:
            raise InterruptedRunError(
                f"the reader of the output has gone: {self._error.strerror}",
                hint="to let a run go on without a reader, send its output to a file",
            ) from self._error
        if self._as_json:
            self._lines.put((emit, json.dumps(update_to_json(update), ensure_ascii=False, allow_nan=False)))
            return
        if update.run_id not in self._runs:
            self._runs.add(update.run_id)
            self._lines.put((self._narrate, f"run {update.run_id}"))
        text = self._text(update)
        if text:
            self._lines.put((self._transfers.write if isinstance(update, TransferUpdate) else self._narrate, text))

    def _narrate(self, text: str) -> None:
        self._transfers.end_line()
        narrate(text)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            write, text = line
            try:
                write(text)
            except OSError as error:
                self._error = error
                return

    def _text(self, update: Update) -> str | None:
        match update:
            case StateUpdate():
                change = update.change
                return f"[{change.state}]{f' {change.detail}' if change.detail else ''}"
            case EventUpdate():
                text = self._event(update.event)
                return f"  {text}{_dollars(update)}" if text else None
            case EvidenceUpdate():
                evidence = update.evidence
                word = "confirmed gone" if evidence.confirmed else "NOT CONFIRMED, may still be billed"
                return f"[teardown] {word}: {evidence.answer} ({evidence.source})"
            case RequoteUpdate(requote=renewed):
                return f"[quote] {renewed.text}"
            case LogUpdate():
                return f"  | {update.text}"
            case TransferUpdate():
                return self._transfers.text(update)
            case ChargeUpdate():
                return None

    def _step_is_due(self, step: int) -> bool:
        """Steps of small models come by the dozen: one a second is told, and the last."""
        now_s = self._clock()
        if now_s - self._told_step_at_s < _STEP_INTERVAL_S and step != self._steps:
            return False
        self._told_step_at_s = now_s
        return True

    def _event(self, event: Event) -> str | None:
        data = event.data
        match event.type:
            case EventType.PHASE:
                return f"-- {str(data['name']).replace('_', ' ')}"
            case EventType.STARTED:
                resumed = data.get("resumed_from_step")
                return f"{data['device_name']}{f', resumed from step {resumed}' if resumed else ''}"
            case EventType.TRAIN:
                if not self._step_is_due(int(data["step"])):
                    return None
                speed = f"{data['tokens_per_s']:,.0f} tokens/s"
                return f"step {data['step']}{_of(self._steps)}  loss {data['loss']:.4f}  {speed}"
            case EventType.EVALUATION:
                metrics = "  ".join(f"{name} {_metric(value)}" for name, value in data["metrics"].items())
                return f"{data['stage']} on {data['split']}, step {data['step']}: {metrics}"
            case EventType.CHECKPOINT:
                return f"checkpoint at step {data['step']}"
            case EventType.PROBE:
                cut = f"{data['micro_batch']} x {data['accumulation']}"
                ahead = format_duration(float(data["remaining_s"]))
                return f"probe: micro-batch {cut}, {data['step_s']:.3g} s a step, {ahead} ahead"
            case EventType.WARNING:
                return f"warning: {data['message']}"
            case EventType.FAILED:
                return f"failed: {data['message']}"
            case EventType.FINISHED:
                return f"training ended: {str(data['outcome']).replace('_', ' ')} after {data['steps']} steps"
            case _:
                return None


def _metric(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _of(steps: int | None) -> str:
    return "" if steps is None else f"/{steps}"


def _dollars(update: EventUpdate) -> str:
    if update.event.type not in {EventType.TRAIN, EventType.EVALUATION}:
        return ""
    so_far = f"  {format_usd(update.cost_usd)} so far"
    return so_far if update.projected_usd is None else f"{so_far}, {interval_usd(update.projected_usd)} projected"
