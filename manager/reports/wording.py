"""The words and numbers of a report, the same in a terminal and on a page.

Names of runs, models and labels come from outside: `plain` takes out what could steer a terminal or turn text around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from manager.reports.model import EarlierStop, Gauge, Report, Score
from manager.runs.states import RunState
from manager.runs.verdict import EndReason, end_from_history
from manager.units import SECONDS_PER_HOUR, format_bytes, format_duration, format_hours, format_seconds, format_usd
from tasks.kinds import UNBOUNDED
from tasks.protocol import Outcome

UNKNOWN = "unknown"
UNDEFINED = "\N{EN DASH}"
"""In tables, for a metric that is not defined or a figure that was not measured."""

METRIC_TITLES = {
    "accuracy": "Accuracy",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "f1_macro": "Macro F1",
    "f1_weighted": "Weighted F1",
    "roc_auc": "ROC-AUC",
    "perplexity": "Perplexity",
    "token_accuracy": "Token accuracy",
}
GAUGE_TITLES = {
    "cost": "Cost",
    "hours": "Time, all in",
    "training_hours": "Training steps",
    "peak_memory": "Peak memory",
}
PHASE_TITLES = {
    "provisioning": "Provisioning",
    "setup": "Set-up",
    "loading": "Loading model and data",
    "probe": "Probe",
    "baseline": "Baseline evaluation",
    "training": "Training steps",
    "evaluation": "Evaluations",
    "checkpoints": "Checkpoints",
    "final": "Final evaluation",
    "saving": "Saving the model",
    "teardown": "Results and teardown",
    "interruption": "Interruption",
    "rest": "Rest, rounding",
}
BESIDE_TITLES = {
    "disk": "disks",
    "address": "public addresses",
    "egress": "traffic home",
    "data_egress": "data out of their bucket",
    "bucket_egress": "checkpoints and model to the bucket",
}
METHOD_TITLES = {
    "full": "full fine-tuning",
    "lora": "LoRA",
    "qlora": "QLoRA",
    "frozen": "frozen backbone",
    "gradual": "gradual unfreezing",
}
OUTCOME_TITLES = {
    Outcome.COMPLETED: "completed",
    Outcome.EARLY_STOPPED: "stopped early: no further improvement",
    Outcome.TARGET_REACHED: "stopped early: quality target reached",
    Outcome.CAP_REACHED: "stopped by the cap",
    Outcome.STOPPED: "stopped from outside",
}
STOPPED_BY = {
    EndReason.STOP_REQUESTED: "stopped by the user",
    EndReason.STOP_NOW: "stopped by the user",
    EndReason.INTERRUPTED: "stopped by the user",
    EndReason.CAP: "stopped by the cap",
    EndReason.DURATION: "stopped at the longest duration",
    EndReason.REQUOTED: "stopped by the renewed quote",
    EndReason.HUNG: "stopped: it made no progress",
}
"""Who told a task to stop that did so in good order."""
SMALL_LOSS_POINTS = 1.0
"""An earlier stop that costs at most this much accuracy is worth a sentence."""


def plain(text: str) -> str:
    """Text from outside without control and direction characters; line ends become spaces."""
    return "".join(
        " " if char in "\n\r\t" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in {"Cc", "Cf"} else char
        for char in text
    )


def percent(value: float | None, digits: int = 2) -> str:
    """0.96857 as `96.86%`; None as a dash."""
    return UNDEFINED if value is None else f"{100 * value:.{digits}f}%"


def metric_value(metric: str, value: float | None, digits: int = 2) -> str:
    """A metric as text: a percentage, but for perplexity, which is a number with as many digits as it needs."""
    if metric not in UNBOUNDED:
        return percent(value, digits)
    return UNDEFINED if value is None else f"{value:,.{2 if abs(value) < 1000 else 0}f}"


def points(value: float | None, digits: int = 2) -> str:
    """Percentage points with their sign; None as a dash."""
    return UNDEFINED if value is None else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def usd_column(values: Iterable[Decimal | None]) -> list[str]:
    """Dollars of one column, all with the same number of decimals: two from $10 on, four from a cent on, else six."""
    column = list(values)
    largest = max((abs(value) for value in column if value is not None), default=Decimal(0))
    step = (
        Decimal("0.01") if largest >= 10 else Decimal("0.0001") if largest >= Decimal("0.01") else Decimal("0.000001")
    )
    return [UNKNOWN if value is None else _in_steps(value, step) for value in column]


def _in_steps(value: Decimal, step: Decimal) -> str:
    """Dollars in whole steps; less than half of one is not shown as nothing."""
    rounded = value.quantize(step, rounding=ROUND_HALF_UP)
    return f"< ${step}" if value > 0 and not rounded else f"${rounded:,}"


def when(at_s: float) -> str:
    """Unix time as `2026-09-21 14:13:20 UTC`."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def parameters(count: int | None) -> str:
    """22,715,141 as `22.7 M`."""
    if count is None:
        return UNKNOWN
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def metric_title(name: str) -> str:
    """`Macro F1` for f1_macro; unknown names as they are."""
    return METRIC_TITLES.get(name) or plain(name)


def in_sentence(metric: str) -> str:
    """A metric's title in the middle of a sentence: `macro F1`, but `ROC-AUC`."""
    title = metric_title(metric)
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def source_title(source: str) -> str:
    """A short name of a model or a data set: the last part of a hub id or file, the last two of a folder.

    Folders are called `model` and `data` too often for one part to say which.
    """
    parts = [part for part in source.split("/") if part]
    if not parts:
        return plain(source)
    is_folder = source.startswith("/") and "." not in parts[-1]
    return plain("/".join(parts[-2:] if is_folder else parts[-1:]))


def state_title(report: Report) -> str:
    """The state in words."""
    return {
        RunState.UNCONFIRMED: "teardown not confirmed",
        RunState.NO_CAPACITY: "no capacity",
        RunState.TEARING_DOWN: "tearing down",
    }.get(report.state, str(report.state))


def in_unit(value: float | None, unit: str) -> str:
    """A gauge's value as text."""
    if value is None:
        return UNDEFINED
    if unit == "USD":
        return format_usd(Decimal(str(value)))
    return format_bytes(value) if unit == "bytes" else format_hours(value)


def interval_text(gauge: Gauge) -> str:
    """`$0.13 to $0.31`, or a dash without an interval."""
    if gauge.low is None or gauge.high is None:
        return UNDEFINED
    return f"{in_unit(gauge.low, gauge.unit)} to {in_unit(gauge.high, gauge.unit)}"


def gauge_verdict(gauge: Gauge) -> str:
    """How the estimate did, in a few words."""
    if gauge.expected is None:
        return "not estimated"
    if gauge.actual is None:
        return "not measured"
    if not gauge.comparable:
        return "run not completed"
    ratio = gauge.ratio
    share = "" if ratio is None else f"{100 * (ratio - 1):+.0f}%".replace("-", "\N{MINUS SIGN}")
    if gauge.inside is None:
        return share
    return f"{share}, {'inside' if gauge.inside else 'outside'}"


def beside_sentence(report: Report) -> str | None:
    """What the plan counts besides the machine, which no run measures; None: nothing."""
    billed = [line for line in report.planned_beside if line.name in BESIDE_TITLES]
    if not billed:
        return None
    costs = usd_column(line.cost_usd for line in billed)
    named = [f"{BESIDE_TITLES[line.name]} {cost}" for line, cost in zip(billed, costs, strict=True)]
    return f"Besides the machine the plan has {', '.join(named)}; they are not measured."


def waiting_sentence(report: Report) -> str | None:
    """How long the plan expects to wait for spot capacity; None: not at all."""
    hours = sum(line.quantity for line in report.planned_beside if line.name == "waiting")
    return f"The plan has {format_hours(hours)} of waiting for spot capacity, which is not billed." if hours else None


def outcome_text(report: Report) -> str | None:
    """How training ended; None when it did not end in good order."""
    if report.outcome is Outcome.STOPPED:
        return STOPPED_BY.get(end_from_history(report.history).reason, OUTCOME_TITLES[report.outcome])
    return None if report.outcome is None else OUTCOME_TITLES[report.outcome]


def teardown_text(report: Report) -> str:
    """What is known about the machine being gone."""
    if report.teardown_confirmed:
        return "confirmed gone"
    if report.teardown_confirmed is False:
        return "NOT confirmed"
    return (
        "may be billed now" if report.still_billing else "no machine was started" if not report.charges else "not asked"
    )


def failure_word(report: Report) -> str:
    """How a run ended that has a failure: by somebody's will, or not."""
    return "Interrupted" if report.state is RunState.INTERRUPTED else "Failed"


def summary(report: Report) -> str:
    """The run in one sentence: what it achieved, for how much, in what time."""
    cost = "an unknown cost" if report.cost_usd is None else format_usd(report.cost_usd)
    time = format_duration(report.billed_s)
    score = report.score(report.headline_metric)
    if report.still_billing:
        so_far = "nothing charged" if report.billed_s is None else f"{cost} and {time}"
        return f"Not over yet: {so_far} so far."
    if report.billed_s is None:
        return "No machine was billed."
    if score and score.metric in UNBOUNDED:
        return _summary_of_unbounded(score, f"for {cost} in {time}.")
    if score and score.points is not None:
        if round(score.points, 1) == 0:
            return f"Accuracy stayed at {percent(score.tuned, 1)} for {cost} in {time}."
        change = f"from {percent(score.baseline, 1)} to {percent(score.tuned, 1)}"
        verb = "rose" if score.points > 0 else "fell"
        return f"Accuracy {verb} {change} ({points(score.points, 1)} points) for {cost} in {time}."
    if score and score.baseline is not None:
        return f"Only the untouched model was tested ({percent(score.baseline, 1)} accuracy), for {cost} in {time}."
    return f"No model was tested; the attempt took {cost} and {time}."


def _summary_of_unbounded(score: Score, price: str) -> str:
    title, untouched = metric_title(score.metric), metric_value(score.metric, score.baseline)
    if score.tuned is None:
        return f"Only the untouched model was tested ({untouched} {in_sentence(score.metric)}), {price}"
    tuned = metric_value(score.metric, score.tuned)
    if score.baseline is None:
        return f"{title} is {tuned} {price}"
    if tuned == untouched:
        return f"{title} stayed at {tuned} {price}"
    verb = "fell" if score.tuned < score.baseline else "rose"
    return f"{title} {verb} from {untouched} to {tuned} {price}"


def worthwhile_stop(report: Report) -> EarlierStop | None:
    """The earliest stop that would have lost at most a point of the metric."""
    return next((stop for stop in report.earlier_stops if stop.points_lost <= SMALL_LOSS_POINTS), None)


def stop_sentence(report: Report) -> str | None:
    """What the worthwhile earlier stop would have saved, or None when there is none."""
    stop = worthwhile_stop(report)
    if stop is None:
        return None
    total = report.cost_usd
    if stop.saved_usd is None or total is None:
        saved = f"taken {format_duration(stop.saved_s)} less"
    else:
        share = f" ({100 * stop.saved_usd / total:.0f}% of the cost)" if total else ""
        saved = f"cost {format_usd(stop.saved_usd)} less{share}"
    lost = f"{stop.points_lost:.1f} points" if stop.points_lost else "no loss"
    return f"Stopping at step {stop.step} would have {saved} for {lost} of {in_sentence(stop.metric)} on validation."


def bill_sentence(report: Report) -> str:
    """The bill as price times time, where it is no more than that."""
    if report.billed_s is None:
        return "Nothing was billed."
    if report.price_usd_per_hour is None or report.cost_usd is None:
        return f"{format_seconds(report.billed_s)} billed at an unknown price."
    at_price = f"{format_seconds(report.billed_s)} at ${report.price_usd_per_hour.normalize():f}/h"
    cost = usd_column([report.cost_usd])[0]
    exact = report.price_usd_per_hour * Decimal(report.billed_s) / SECONDS_PER_HOUR
    if abs(exact - report.cost_usd) <= report.price_usd_per_hour / SECONDS_PER_HOUR:
        return f"{at_price} = {cost}"
    return f"{at_price}; {cost} with machines of another price and those that the launch gave back"
