"""The ways of training one job that the planner may choose among, with their traces.

Which there are follows from what the run file leaves open (`auto`): precision, gradient checkpointing, sharding. The
first is always there; a step with checkpointing that is not at hand is traced only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from manager.catalog.model_entry import ModelEntry
from manager.errors import DataError
from manager.planner.judge import SINGLE
from manager.planner.machine import DDP, FSDP
from manager.planner.variant import StepVariant
from manager.profiling.run_traces import run_traces
from manager.spec.model import RunSpec
from manager.workload.build import build_profile
from manager.workload.profile import DataStats
from tasks.shardable import sharding_refusal

AUTO = "auto"
_ADAPTERS = ("lora", "qlora")
_NOT_TRACED = "its step is not traced, which takes seconds; a run file that asks for it by name has it traced"
_FULL_PRECISIONS = ("bf16-mixed", "fp16-mixed", "fp32")
"""Of `precision: auto`, best first: the second for cards without bfloat16, the last for those without either."""
_ADAPTER_PRECISIONS = ("bf16", "fp16-mixed", "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Variants beside the first."""

    variants: tuple[StepVariant, ...]
    left_out: tuple[str, ...]
    """Those that could not be had, and why; for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSource:
    """Makes variants of one job."""

    spec: RunSpec
    entry: ModelEntry
    data: DataStats
    has_cpu_offers: bool
    cache_dir: Path
    timeout_s: float
    tell: Callable[[str], None] | None = None

    def first(self) -> StepVariant:
        """Plain training in the best precision.

        Raises:
            DataError: it can neither be looked up nor traced here.
        """
        return self._variant(next(self._specs()))

    def others(self, *, traces_checkpointing: bool) -> Others:
        """The rest, as far as their traces can be had; the first stands for the job where one cannot.

        Args:
            traces_checkpointing: whether steps with checkpointing are traced too where none is at hand, which takes
                seconds; steps in other precisions are, since the run file asks for them.
        """
        found: list[StepVariant] = []
        left_out: list[str] = []
        specs = self._specs()
        next(specs)
        for spec in specs:
            training = spec.training
            # Adapters in float32 help old processors alone, which are not worth the seconds.
            is_wide = training.precision == SINGLE and spec.method.kind in _ADAPTERS
            may_trace = traces_checkpointing or not (training.gradient_checkpointing or is_wide)
            try:
                found.append(self._variant(spec, may_trace=may_trace, is_optional=True))
            except DataError as error:
                how = "gradient checkpointing" if training.gradient_checkpointing else "training"
                reason = str(error).removesuffix(".") if may_trace else _NOT_TRACED
                left_out.append(f"{how} in {training.precision} was not considered: {reason}")
        return Others(variants=tuple(found), left_out=tuple(left_out))

    def _variant(self, spec: RunSpec, *, may_trace: bool = True, is_optional: bool = False) -> StepVariant:
        traces = run_traces(
            spec,
            self.entry,
            data=self.data,
            has_cpu_offers=self.has_cpu_offers,
            cache_dir=self.cache_dir,
            timeout_s=self.timeout_s,
            tell=self.tell,
            may_trace=may_trace,
            is_optional=is_optional,
        )
        return StepVariant(
            profile=build_profile(spec, self.entry, self.data, traces),
            traces=traces,
            shardings=shardings_of(spec),
            checkpoint_every_steps=spec.training.checkpoint_every_steps,
            keep_checkpoints=spec.training.keep_checkpoints,
        )

    def _specs(self) -> Iterator[RunSpec]:
        training = self.spec.training
        for precision in precisions_of(self.spec):
            for checkpointing in checkpointing_of(self.spec):
                yield replace(
                    self.spec,
                    training=replace(training, precision=precision, gradient_checkpointing=checkpointing),
                )


def precisions_of(spec: RunSpec) -> tuple[str, ...]:
    """Precisions that the job may be trained in, best first."""
    if spec.training.precision != AUTO:
        return (spec.training.precision,)
    return _ADAPTER_PRECISIONS if spec.method.kind in _ADAPTERS else _FULL_PRECISIONS


def checkpointing_of(spec: RunSpec) -> tuple[bool, ...]:
    """Whether activations may be computed again for backward; plain first."""
    asked = spec.training.gradient_checkpointing
    if asked is not None:
        return (asked,)
    # Nothing in a frozen backbone keeps activations.
    return (False,) if spec.method.kind == "frozen" else (False, True)


def shardings_of(spec: RunSpec) -> tuple[str, ...]:
    """How several devices may share a step, simplest first."""
    asked, training = spec.training.sharding, spec.training
    if asked != AUTO:
        return (asked,)
    refused = sharding_refusal(
        method=spec.method.kind, optimizer=training.optimizer, loss=training.loss, precision=training.precision
    )
    return (DDP, FSDP) if refused is None else (DDP,)


def settled(spec: RunSpec) -> RunSpec:
    """The spec with the first of everything that it leaves open."""
    training = replace(
        spec.training, precision=precisions_of(spec)[0], gradient_checkpointing=checkpointing_of(spec)[0]
    )
    return replace(spec, training=training)
