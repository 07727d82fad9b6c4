"""What is wrong with a run, in words that come before all else on its screen."""

from __future__ import annotations

from manager.service.live_run import LiveRun
from manager.service.live_words import error_lines
from manager.service.nouns import RunState
from manager.units import format_duration


def alarm_text(live: LiveRun) -> str:
    """What may cost money without an end in sight, and what to type; empty when all is well."""
    if live.alarm is None:
        return ""
    return "\n".join((f"! {live.alarm.text}", *(f"  {command}" for command in live.alarm.commands)))


def stale_text(live: LiveRun) -> str:
    """Since when nothing new could be read; empty while it can."""
    if live.stale_since_s is None:
        return ""
    age = format_duration(max(0.0, live.polled_at_s - live.stale_since_s))
    return f"! OLD since {age}: {live.stale_reason}. The run goes on; it is read again and again."


def trouble_text(live: LiveRun) -> str:
    """Why a run ended, with what to do; the newest warning of one that goes on."""
    if live.error is not None:
        return "\n".join(error_lines(live.error, is_failure=live.is_failure))
    if live.state is RunState.SUCCEEDED:
        gone = "; its machine is confirmed gone" if live.evidence is not None and live.evidence.confirmed else ""
        return f"succeeded{gone}. r shows its report."
    return f"warning: {live.warnings[-1]}" if live.warnings and not live.is_over else ""
