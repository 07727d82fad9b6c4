"""A run that goes on, in words: the same on the screen Run and from `tunefare show --live`. Money first."""

from __future__ import annotations

from collections.abc import Sequence

from manager.reports.wording import metric_title, metric_value, plain
from manager.runs.states import FINAL, RunState
from manager.service.live_figures import OUTLASTED
from manager.service.live_phases import LivePhase, PhaseState
from manager.service.live_requote import requote_words
from manager.service.live_run import LiveError, LiveRun
from manager.service.live_series import Axis, LiveSeries
from manager.service.state_words import state_words
from manager.units import Interval, format_bytes, format_duration, format_usd, interval_usd, tick_usd

LOSS = "loss"
MARKS = {PhaseState.DONE: "✓", PhaseState.ACTIVE: "▶", PhaseState.WAITING: "·", PhaseState.SKIPPED: "-"}
"""What stands before a phase; the word or the time behind it says the same."""
AXIS_TITLES = {Axis.STEPS: "optimizer steps", Axis.SECONDS: "time since billing began", Axis.DOLLARS: "dollars"}


def _state(live: LiveRun) -> str:
    """`running`, `tearing down`, `stopping (asked to end: tunefare stop)`; who supervises it is told beside."""
    words = state_words(live.state)
    if live.state is RunState.UNCONFIRMED:
        return f"{words}: may still be billed"
    if live.stop_asked is not None and not live.is_over:
        return f"{words} (asked to end: {plain(live.stop_asked)})"
    return words


def head_words(live: LiveRun) -> str:
    """Who, how it stands, where, who looks after it."""
    parts = [live.run_id, _state(live)]
    if live.offer is not None:
        price = live.price_usd_per_hour
        parts.append(f"{live.offer.title} at {'an unknown price' if price is None else f'{format_usd(price)}/h'}")
    if live.may_bill and live.state is not RunState.UNCONFIRMED:
        parts.append("supervised" if live.has_client else "NOT supervised")
    return " · ".join(parts)


def phase_words(phase: LivePhase) -> str:
    """`▶ training 4.1 min of about 5.0 min`; what was not begun has no time."""
    text = f"{MARKS[phase.state]} {phase.name}"
    if phase.state in {PhaseState.WAITING, PhaseState.SKIPPED}:
        return text if phase.state is PhaseState.WAITING else f"{text} (none)"
    text += f" {format_duration(phase.duration_s)}"
    if phase.state is PhaseState.ACTIVE and phase.expected_s and phase.expected_s >= 1:
        text += f" of about {format_duration(phase.expected_s)}"
    return text


def cost_words(live: LiveRun) -> str:
    """`$0.14 so far, 7 % of the cap of $2.00`."""
    spent = "cost unknown" if live.cost_usd is None else f"{format_usd(live.cost_usd)} {_until(live)}"
    beside = f" + {format_usd(live.beside_usd)} for disk and traffic, as planned" if live.beside_usd else ""
    if live.cap_usd is None:
        return f"{spent}{beside}, no cap"
    if live.cap_share is None:
        return f"{spent}{beside}, cap {format_usd(live.cap_usd)}"
    return f"{spent}{beside}, {live.cap_share:.0%} of the cap of {format_usd(live.cap_usd)}"


def ahead_words(live: LiveRun) -> str:
    """`will cost $0.19 ($0.17 to $0.23), 3.2 min left (2.1 to 4.4 min); from 120 steps so far`; empty when over."""
    if live.projected_usd is None and live.left_s is None:
        return "" if live.projected_basis != OUTLASTED else "it takes longer than planned, and no step is done yet"
    parts = []
    if live.projected_usd is not None:
        over = live.projected_cap_share is not None and live.projected_cap_share > 1
        parts.append(f"will cost {interval_usd(live.projected_usd)}{', OVER THE CAP' if over else ''}")
    if live.left_s is not None:
        parts.append(f"{_duration(live.left_s)} left")
    return f"{', '.join(parts)}; from {live.projected_basis}"


def event_words(live: LiveRun) -> str:
    """`PREEMPTED 2 times; DEAD-MAN TIMER: ...`: what machines and guards did; empty: nothing."""
    parts = []
    if live.preemptions:
        times = "once" if live.preemptions == 1 else f"{live.preemptions} times"
        goes_on = "" if live.is_over else "; it goes on from its last checkpoint once it has a machine"
        parts.append(f"PREEMPTED {times}{goes_on}")
    if live.guard_warning is not None:
        parts.append(plain(live.guard_warning))
    return " · ".join(parts)


def figure_words(live: LiveRun) -> list[str]:
    """Step, newest loss and metric, speed, memory, use of the device; only what is known."""
    parts = [f"step {live.step:,} of {live.steps:,}" + ("" if live.epoch is None else f", epoch {live.epoch:.1f}")]
    if (loss := live.latest.get("training loss")) is not None:
        parts.append(f"loss {loss:.4f}")
    for split in ("validation", "test"):
        value = live.latest.get(f"{split} {live.metric}")
        if value is not None:
            of = f"{split}, untouched model" if _is_untouched(live, split) else split
            parts.append(f"{metric_title(live.metric)} {metric_value(live.metric, value)} ({of})")
    if live.speed is not None:
        parts.append(f"{live.speed:,.0f} {live.speed_unit}")
    if live.peak_memory_bytes is not None:
        of = "" if live.device_memory_bytes is None else f" of {format_bytes(live.device_memory_bytes)}"
        parts.append(f"peak memory {format_bytes(live.peak_memory_bytes)}{of}")
    if live.utilization_percent is not None:
        parts.append(f"device busy {live.utilization_percent:.0f}%")
    if live.device is not None:
        parts.append(plain(live.device))
    return parts


def chart_title(live: LiveRun, name: str) -> str:
    """`Loss`, `Macro F1`."""
    return "Loss" if name == LOSS else metric_title(name)


def value_words(name: str, value: float) -> str:
    """A height of a curve: a loss as a number, a metric as a percentage or what it is counted in."""
    return f"{value:.4f}" if name == LOSS else metric_value(name, value)


def across_words(axis: Axis, value: float) -> str:
    """A place on the x axis, for ticks."""
    if axis is Axis.STEPS:
        return f"{value:,.0f}"
    return format_duration(value) if axis is Axis.SECONDS else tick_usd(value)


def curve_words(series: Sequence[LiveSeries], name: str) -> str:
    """The curves of one chart in a sentence: each newest value, from which it came, and its best."""
    parts = []
    for one in series:
        if one.name != name or not one.points:
            continue
        first, last = one.points[0], one.points[-1]
        text = f"{one.split} {value_words(name, last[2])} at step {last[0]:,}"
        if one.seen > 1:
            text += f" (from {value_words(name, first[2])} at step {first[0]:,})"
        parts.append(text)
    return "; ".join(parts)


def live_lines(live: LiveRun) -> list[str]:
    """All of it, a line each; alarms first."""
    lines = []
    if live.alarm is not None:
        lines += [live.alarm.text, *(f"  type: {command}" for command in live.alarm.commands)]
    if live.stale_reason is not None:
        lines.append(f"OLD: {live.stale_reason}")
    lines.append(cost_words(live))
    lines += [words] if (words := ahead_words(live)) else []
    lines += [words] if (words := event_words(live)) else []
    if live.requote is not None:
        lines.append(requote_words(live.requote))
        if live.requote.question is not None:
            lines.append(f"  type: tunefare requote {live.run_id} --go-on, or --end")
    lines.append(head_words(live))
    lines.append("  ".join(phase_words(phase) for phase in live.phases))
    lines.append(" · ".join(figure_words(live)))
    curves = {name: curve_words(live.series, name) for name in (LOSS, live.metric)}
    lines += [f"{chart_title(live, name)}: {words}" for name, words in curves.items() if words]
    lines += [f"warning: {plain(warning)}" for warning in live.warnings]
    if live.error is not None:
        lines += error_lines(live.error, is_failure=live.is_failure)
    if live.evidence is not None:
        word = "confirmed gone" if live.evidence.confirmed else "NOT CONFIRMED"
        lines.append(f"teardown: {word}: {plain(live.evidence.answer)} ({live.evidence.source})")
    return lines


def error_lines(error: LiveError, *, is_failure: bool) -> list[str]:
    """Why a run was not through; what the user or a cap ended is no error."""
    lines = [f"{'error' if is_failure else 'ended'}: {plain(error.message)}"]
    return [*lines, f"hint: {plain(error.hint)}"] if error.hint else lines


def _is_untouched(live: LiveRun, split: str) -> bool:
    """Whether the newest value was measured before the first step."""
    found = [one for one in live.series if one.name == live.metric and one.split == split]
    return bool(found) and found[0].points[-1][0] == 0


def _until(live: LiveRun) -> str:
    if live.state in FINAL:
        return "in all"
    return "until its end was asked for" if live.state is RunState.UNCONFIRMED else "so far"


def _duration(interval: Interval) -> str:
    low, high = format_duration(interval.low), format_duration(interval.high)
    return f"{format_duration(interval.expected)} ({low} to {high})"
