"""What a running job says: plain lines on standard error, or JSON lines on standard output."""

from __future__ import annotations

from manager.cli.output import emit_json, narrate
from manager.runs.updates import (
    ChargeUpdate,
    EventUpdate,
    EvidenceUpdate,
    LogUpdate,
    StateUpdate,
    Update,
    update_to_json,
)
from manager.units import MoneyInterval, format_usd
from tasks.protocol import Event, EventType


class LiveView:
    """Prints updates of one run as they come."""

    def __init__(self, *, steps: int | None, as_json: bool) -> None:
        self._steps = steps
        self._as_json = as_json
        self._runs: set[str] = set()

    def update(self, update: Update) -> None:
        """Show one update."""
        if self._as_json:
            emit_json(update_to_json(update), indent=None)
            return
        if update.run_id not in self._runs:
            self._runs.add(update.run_id)
            narrate(f"run {update.run_id}")
        text = self._text(update)
        if text:
            narrate(text)

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
            case LogUpdate():
                return f"  | {update.text}"
            case ChargeUpdate():
                return None

    def _event(self, event: Event) -> str | None:
        data = event.data
        match event.type:
            case EventType.PHASE:
                return f"-- {str(data['name']).replace('_', ' ')}"
            case EventType.STARTED:
                resumed = data.get("resumed_from_step")
                return f"{data['device_name']}{f', resumed from step {resumed}' if resumed else ''}"
            case EventType.TRAIN:
                speed = f"{data['tokens_per_s']:,.0f} tokens/s"
                return f"step {data['step']}{_of(self._steps)}  loss {data['loss']:.4f}  {speed}"
            case EventType.EVALUATION:
                metrics = "  ".join(f"{name} {_metric(value)}" for name, value in data["metrics"].items())
                return f"{data['stage']} on {data['split']}, step {data['step']}: {metrics}"
            case EventType.CHECKPOINT:
                return f"checkpoint at step {data['step']}"
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
    return so_far if update.projected_usd is None else f"{so_far}, {_money(update.projected_usd)} projected"


def _money(interval: MoneyInterval) -> str:
    return f"{format_usd(interval.expected)} ({format_usd(interval.low)}-{format_usd(interval.high)})"
