"""What a running job says: plain lines on standard error, or JSON lines on standard output."""

from __future__ import annotations

from manager.cli.output import emit_json, narrate
from manager.planner.plan import Plan
from manager.runs.supervise import ChargeUpdate, EventUpdate, EvidenceUpdate, LogUpdate, StateUpdate, Update, update_to_json
from manager.units import format_usd
from tasks.protocol import Event, EventType


class LiveView:
    """Prints updates of one run as they come."""

    def __init__(self, *, plan: Plan, as_json: bool) -> None:
        self._plan = plan
        self._as_json = as_json
        self._dollars = ""

    def update(self, update: Update) -> None:
        """Show one update."""
        if self._as_json:
            emit_json(update_to_json(update), indent=None)
            return
        match update:
            case StateUpdate():
                narrate(f"[{update.state}]{f' {update.detail}' if update.detail else ''}")
            case EventUpdate():
                text = self._event(update.event)
                if text:
                    narrate(f"  {text}")
            case ChargeUpdate():
                self._dollars = _dollars(update)
            case EvidenceUpdate():
                word = "confirmed gone" if update.evidence.confirmed else "NOT CONFIRMED: may still be billed"
                narrate(f"[teardown] {word}: {update.evidence.answer} ({update.evidence.source})")
            case LogUpdate():
                narrate(f"  | {update.line}")

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
                return f"step {data['step']}/{self._plan.profile.steps}  loss {data['loss']:.4f}  {speed}{self._dollars}"
            case EventType.EVALUATION:
                metrics = "  ".join(f"{name} {_metric(value)}" for name, value in data["metrics"].items())
                return f"{data['stage']} on {data['split']}, step {data['step']}: {metrics}{self._dollars}"
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


def _dollars(update: ChargeUpdate) -> str:
    so_far = f"  {format_usd(update.cost_usd)} so far"
    if update.projected_usd is None:
        return so_far
    low, high = format_usd(update.projected_usd.low), format_usd(update.projected_usd.high)
    return f"{so_far}, {format_usd(update.projected_usd.expected)} projected ({low}-{high})"
