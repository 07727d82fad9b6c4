"""Is the tuning worth it: plans the job and its alternatives, reads what own runs have reached, applies the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from manager.errors import TunefareError
from manager.planner.assumptions import Assumptions
from manager.planner.plan import Plan
from manager.planner.tuning import ASKED, Tuning
from manager.planner.worth import Worth, worth_of
from manager.planner.worth_question import Quantity, Question, checked
from manager.planner.worth_rules import Recommendation, recommend
from manager.service.alternatives import alternatives
from manager.service.assumptions import read_assumptions
from manager.service.context import Context
from manager.service.own_scores import OwnScore, own_scores
from manager.service.planning import explain_no_choice, planner_of, save_plan, settle
from manager.spec.model import RunSpec
from tasks.kinds import TASK_KINDS, UNBOUNDED

_RUNS = "tuning_runs"
_TRIAL_SHARE = "frozen_trial_share"
_ANY_CLOUD = "*"
DEFAULT_MONTHS = 12

Planner = Callable[[RunSpec], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stakes:
    """What a user says on the command line or in a form; None: not said. See `Question` for the units."""

    metric: str | None = None
    """None: that of the run file's target, else the one that chooses the best checkpoint."""
    baseline: Decimal | None = None
    target: Decimal | None = None
    """None: that of the run file."""
    gain_points: Quantity | None = None
    usd_per_point: Decimal | None = None
    replaces_usd_per_month: Decimal | None = None
    serving_usd_per_month: Decimal | None = None
    months: int = DEFAULT_MONTHS
    once_usd: Decimal | None = None
    again_every_months: int | None = None
    runs: Quantity | None = None
    """None: the assumption `tuning_runs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthReport:
    """The answer to `tunefare worth`."""

    spec: RunSpec
    question: Question
    asked: Worth
    alternatives: tuple[Worth, ...]
    recommendation: Recommendation
    notes: tuple[str, ...]


def worth_report(
    context: Context,
    spec: RunSpec,
    stakes: Stakes,
    *,
    catalogs: Path | None = None,
    assumptions: Assumptions | None = None,
    planner: Planner | None = None,
    tell: Callable[[str], None] | None = None,
) -> WorthReport:
    """Plan the job, its cheaper methods and smaller models; say whether one pays, and why.

    Args:
        context: surroundings.
        spec: the job.
        stakes: what the user says of gain and value.
        catalogs: folder of price catalogs, as for a plan.
        assumptions: None: the table that holds for this user.
        planner: plans one job; None: as `plan` does. The plans of the job and of what is recommended are kept.
        tell: is told of work that takes long, before it is done.

    Raises:
        UsageError: a figure is impossible, or nothing is given a value.
        ConfigError: own assumptions cannot be read.
        DataError: model or data of the job cannot be used.
    """
    question = _question(spec, stakes, assumptions or read_assumptions(context))
    plan = planner or planner_of(context, catalogs, tell)
    scores = own_scores(context, question.metric)
    own = _planned(ASKED, spec, plan, scores)
    kept = settle(context, own.plan)
    question = _with_own_baseline(question, spec, scores)
    asked = worth_of(question, own.tuning)
    others, plans = [], {kept.plan_id: kept}
    for other in alternatives(spec, parameters=own.tuning.parameters):
        if tell is not None:
            tell(f"planning {other.kind}: {other.spec.model.source}, {other.spec.method.kind} ...")
        found = _try_to_plan(other.kind, other.spec, plan, scores)
        others.append(worth_of(question, found.tuning, same_gain=asked.gain))
        if found.plan is not None:
            plans[found.plan.plan_id] = found.plan
    advice = recommend(question, asked, others)
    if advice.tuning is not None and advice.tuning.plan_id not in (None, kept.plan_id):
        save_plan(context, plans[advice.tuning.plan_id])
    return WorthReport(
        spec=spec,
        question=question,
        asked=asked,
        alternatives=tuple(others),
        recommendation=advice,
        notes=(*kept.notes, *_notes(question)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    tuning: Tuning
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    tuning: Tuning
    plan: Plan | None


def _question(spec: RunSpec, stakes: Stakes, assumptions: Assumptions) -> Question:
    metric = stakes.metric or (spec.target.metric if spec.target is not None else spec.training.metric)
    said = spec.target
    takes_target = said is not None and said.metric == metric and metric not in UNBOUNDED
    target = stakes.target
    if target is None and stakes.gain_points is None and takes_target and said is not None:
        target = Decimal(repr(said.value))
    row = assumptions.of(_RUNS, _ANY_CLOUD)
    share = assumptions.of(_TRIAL_SHARE, _ANY_CLOUD).value.expected
    runs = Quantity(
        low=Decimal(repr(row.value.low)), expected=Decimal(repr(row.value.expected)), high=Decimal(repr(row.value.high))
    )
    question = Question(
        metric=metric,
        baseline=stakes.baseline,
        target=target,
        gain_points=stakes.gain_points,
        usd_per_point=stakes.usd_per_point,
        replaces_usd_per_month=stakes.replaces_usd_per_month,
        serving_usd_per_month=stakes.serving_usd_per_month,
        months=stakes.months,
        once_usd=stakes.once_usd,
        again_every_months=stakes.again_every_months,
        runs=stakes.runs or runs,
        runs_basis="as you expect it" if stakes.runs is not None else f"{_RUNS}: {row.source}",
        trial_share=Decimal(repr(share)),
    )
    return checked(question, task=spec.task)


def _planned(kind: str, spec: RunSpec, plan: Planner, scores: Sequence[OwnScore]) -> _Planned:
    made = plan(spec)
    choice = made.choice
    tuning = Tuning(
        kind=kind,
        model=made.profile.model,
        method=made.profile.method,
        precision=(None if choice is None else choice.precision) or made.profile.precision,
        parameters=made.profile.parameters,
        run_usd=None if choice is None else choice.cost_usd,
        hours=None if choice is None else choice.hours,
        offer=None if choice is None else choice.offer.key,
        plan_id=made.plan_id,
        measured=tuple(score.tuned for score in scores if score.is_of(spec, made.profile.data)),
        reason=explain_no_choice(made).message if choice is None else None,
    )
    return _Planned(tuning=tuning, plan=made)


def _try_to_plan(kind: str, spec: RunSpec, plan: Planner, scores: Sequence[OwnScore]) -> _Tried:
    """An alternative that cannot be planned says why; it is no reason to fail."""
    try:
        made = _planned(kind, spec, plan, scores)
    except TunefareError as error:
        tuning = Tuning(
            kind=kind,
            model=spec.model.source,
            method=spec.method.kind,
            precision=spec.training.precision,
            parameters=None,
            run_usd=None,
            hours=None,
            offer=None,
            plan_id=None,
            reason=error.message,
        )
        return _Tried(tuning=tuning, plan=None)
    return _Tried(tuning=made.tuning, plan=made.plan)


def _with_own_baseline(question: Question, spec: RunSpec, scores: Sequence[OwnScore]) -> Question:
    """A language model can be used untouched: what own runs measured of it is a present score, if none was given."""
    is_usable = not TASK_KINDS[spec.task].has_labels and question.metric not in UNBOUNDED
    if question.baseline is not None or not is_usable:
        return question
    known = [score.baseline for score in scores if score.baseline is not None and score.is_of(spec, None)]
    return replace(question, baseline=Decimal(repr(known[-1]))) if known else question


def _notes(question: Question) -> tuple[str, ...]:
    notes = []
    if question.once_usd is None:
        notes.append("labelling and people are not counted: --once-usd")
    if question.again_every_months is None:
        notes.append("tuned once within the horizon: --again-every-months counts more")
    if question.replaces_usd_per_month is not None:
        notes.append("that the tuned model can take the place of the present solution is taken for granted")
    if question.serving_usd_per_month is None and question.replaces_usd_per_month is None:
        notes.append("serving is taken to cost as much as today; if not, give both monthly costs")
    return tuple(notes)
