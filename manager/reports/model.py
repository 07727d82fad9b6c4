"""Report: what a run was, cost and achieved; values only, ready for a terminal, a page, CSV and JSON.

None is always "unknown" or "undefined", never 0. Times since billing are on one clock (`manager.reports.timeline`);
dollars at an event are launch price x (event - start of billing).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.launch.engine import Evidence
from manager.prices.offer import Offer
from manager.runs.records import Charge, StateChange
from manager.runs.states import RunState
from manager.spec.model import RunSpec
from tasks.kinds import TASK_KINDS, UNBOUNDED, headline_metric, is_better
from tasks.protocol import EvaluationStage, Outcome

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric before and after tuning, both on the test split."""

    metric: str
    """Name of the protocol: accuracy, f1_macro ..."""
    baseline: float | None
    """Of the untouched model (with its new head, for classes): 0 to 1, but for perplexity."""
    tuned: float | None
    """Of the best weights."""

    @property
    def points(self) -> float | None:
        """Tuned minus baseline in percentage points; None too for perplexity, which is no percentage."""
        if self.baseline is None or self.tuned is None or self.metric in UNBOUNDED:
            return None
        return round(100 * (self.tuned - self.baseline), 6)

    @property
    def is_gain(self) -> bool | None:
        """Whether tuning made it better; None when unknown or unchanged."""
        if self.baseline is None or self.tuned is None or self.baseline == self.tuned:
            return None
        return is_better(self.metric, self.tuned, self.baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class of the tuned model (of the baseline when there is no tuned one)."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int | None
    """Test samples with this label."""
    baseline_f1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Confusion matrix; rows are true labels, columns predicted ones."""

    stage: EvaluationStage
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """One `train` event."""

    step: int
    epoch: float | None
    loss: float | None
    since_billing_s: float | None
    """None when the start of billing is unknown."""
    cost_usd: Decimal | None
    tokens_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPoint:
    """One `evaluation` event."""

    stage: EvaluationStage
    split: str
    step: int
    loss: float | None
    metrics: dict[str, float | None]
    since_billing_s: float | None
    cost_usd: Decimal | None
    samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """An estimated quantity beside the measured one.

    Floats even for USD, for ratios and drawing; the exact amount stands in `Report.cost_usd`.
    """

    name: str
    """cost, hours, training_hours or peak_memory."""
    unit: str
    """USD, h or bytes."""
    low: float | None
    """None where the estimate is one number."""
    expected: float | None
    high: float | None
    actual: float | None
    """None while the run goes on, or when it was not measured."""
    comparable: bool
    """False when the run ended before its planned end: then actual is no test of the estimate."""

    @property
    def ratio(self) -> float | None:
        """Actual / expected."""
        return None if self.actual is None or not self.expected else self.actual / self.expected

    @property
    def inside(self) -> bool | None:
        """Whether low <= actual <= high; None without an interval, a measurement or a comparable run."""
        if self.actual is None or self.low is None or self.high is None or not self.comparable:
            return None
        return self.low <= self.actual <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseShare:
    """What the machine did for a stretch of the billed time."""

    name: str
    """provisioning, setup, loading, baseline, training, evaluation, checkpoints, final, saving, teardown ..."""
    duration_s: float
    cost_usd: Decimal | None
    """Launch price x duration."""
    estimated_s: float | None
    """Sum of the plan's lines for this phase; None when the plan has none."""
    estimated_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBeside:
    """A line of the plan's bill that is no phase of the machine; nothing measures it."""

    name: str
    """disk, address, egress, waiting."""
    quantity: float
    """Expected."""
    unit: str
    cost_usd: Decimal
    """Expected; 0 for waiting, which is not billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPhase:
    """What the plan expects one phase of the machine to cost."""

    name: str
    """As in `PhaseShare`."""
    cost_usd: Decimal
    """Expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierStop:
    """What stopping at an evaluation would have meant."""

    step: int
    metric: str
    value: float
    """Best value on the validation split up to this step."""
    points_lost: float
    """Percentage points below the best value of the whole run."""
    saved_s: float
    saved_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The step whose weights were kept."""

    metric: str
    value: float
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the reader should know; not necessarily a fault."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the run failed."""

    code: str
    """FailureCode of the task, or `run` when the ledger alone knows why."""
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The data set as the machine read it."""

    source: str
    sha256: str | None
    train_samples: int | None
    validation_samples: int | None
    test_samples: int | None
    labels: tuple[str, ...]
    mean_tokens: float | None
    truncated_samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """Where the run was, as planned and as the task saw it."""

    engine: str
    offer: Offer | None
    """The offer taken; None before a launch succeeded."""
    device_name: str | None
    device_count: int | None
    precision: str | None
    versions: dict[str, str]
    """Package -> version on the machine; empty before the task started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report shows."""

    run_id: str
    plan_id: str
    state: RunState
    outcome: Outcome | None
    """How training ended; None when it did not end in good order."""
    created_at_s: float
    spec: RunSpec
    machine: MachineFacts
    data: DataFacts | None
    """None before the data was read."""
    parameters: int | None
    trainable_parameters: int | None

    scores: tuple[Score, ...]
    """In the protocol's order of metrics; empty before the first test evaluation."""
    classes: tuple[ClassScore, ...]
    confusion: Confusion | None
    best: Best | None
    losses: tuple[LossPoint, ...]
    evaluations: tuple[EvaluationPoint, ...]
    earlier_stops: tuple[EarlierStop, ...]

    price_usd_per_hour: Decimal | None
    """Launch price; None: unknown."""
    cost_usd: Decimal | None
    """Sum of the charges, so far while the run goes on; None: unknown."""
    billed_s: float | None
    """Time that the charges cover; None when nothing was billed."""
    still_billing: bool
    """True when a machine may be billed at this moment."""
    cap_usd: Decimal | None
    steps_done: int | None
    steps_planned: int
    tokens_per_s: float | None
    """Tokens per second of training time over the whole run."""
    gauges: tuple[Gauge, ...]
    """Of the machine: cost without what is billed besides it, hours without those in which there is none."""
    phases: tuple[PhaseShare, ...]
    planned_phases: tuple[PlannedPhase, ...]
    """Of the plan, also of phases that the run did not come to; empty without an estimate."""
    planned_beside: tuple[PlannedBeside, ...]
    """What the plan has on its bill besides the machine."""
    clock: str | None
    """How event times were brought to this machine's clock; None without events or billing."""

    charges: tuple[Charge, ...]
    failed_attempts: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    history: tuple[StateChange, ...]
    warnings: tuple[Notice, ...]
    failure: Failure | None

    def score(self, metric: str) -> Score | None:
        """The score of a metric, or None."""
        return next((score for score in self.scores if score.metric == metric), None)

    @property
    def headline_metric(self) -> str:
        """What the run is about in one number."""
        return headline_metric(self.spec.task)

    @property
    def counted_in(self) -> str:
        """What `tokens_per_s` counts: tokens, or images."""
        kind = TASK_KINDS.get(self.spec.task)
        return "images" if kind is not None and kind.samples == "images" else "tokens"

    def gauge(self, name: str) -> Gauge | None:
        """The gauge of that name, or None."""
        return next((gauge for gauge in self.gauges if gauge.name == name), None)

    @property
    def teardown_confirmed(self) -> bool | None:
        """Whether the provider's last answer said that nothing is left; None when it was never asked."""
        return self.evidence[-1].confirmed if self.evidence else None

    @property
    def cost_per_point_usd(self) -> Decimal | None:
        """Dollars for each percentage point of accuracy gained; None when unknown or nothing was gained."""
        score = self.score("accuracy")
        if self.cost_usd is None or score is None or score.points is None or score.points <= 0:
            return None
        return self.cost_usd / Decimal(str(score.points))
