"""Which ways of training are open follows from what the run file leaves to the planner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.service import variants
from manager.service.variants import VariantSource, checkpointing_of, precisions_of, settled, shardings_of
from manager.spec.model import RunSpec
from manager.workload.traces import RunTraces
from tests.support.plan_factory import make_data, make_entry, make_spec, make_traces


def left_open(method: str = "full", **training: Any) -> RunSpec:
    """A run file that leaves everything open but for these."""
    spec = make_spec(method=method, precision="auto")
    return replace(spec, training=replace(spec.training, **{"gradient_checkpointing": None, **training}))


@pytest.mark.parametrize(
    ("spec", "precisions"),
    [
        (left_open(), ("bf16-mixed", "fp16-mixed", "fp32")),
        (left_open("frozen"), ("bf16-mixed", "fp16-mixed", "fp32")),
        (left_open("lora"), ("bf16", "fp16-mixed", "fp32")),
        (left_open("qlora"), ("bf16", "fp16-mixed", "fp32")),
        (left_open("lora", precision="fp32"), ("fp32",)),
    ],
)
def test_precisions(spec: RunSpec, precisions: tuple[str, ...]) -> None:
    assert precisions_of(spec) == precisions
    assert settled(spec).training.precision == precisions[0]


@pytest.mark.parametrize(
    ("spec", "checkpointing"),
    [
        (left_open(), (False, True)),
        (left_open("frozen"), (False,)),
        (left_open(gradient_checkpointing=True), (True,)),
        (left_open(gradient_checkpointing=False), (False,)),
    ],
)
def test_checkpointing(spec: RunSpec, checkpointing: tuple[bool, ...]) -> None:
    assert checkpointing_of(spec) == checkpointing
    assert settled(spec).training.gradient_checkpointing is checkpointing[0]


@pytest.mark.parametrize(
    ("spec", "shardings"),
    [
        (left_open(), ("ddp", "fsdp")),
        (left_open("lora"), ("ddp", "fsdp")),
        (left_open("qlora"), ("ddp",)),
        (left_open("gradual"), ("ddp", "fsdp")),
        (left_open(precision="fp16-mixed"), ("ddp",)),
        (left_open(optimizer="adamw-8bit"), ("ddp",)),
        (left_open(loss="chunked"), ("ddp",)),
        (left_open(sharding="fsdp"), ("fsdp",)),
        (left_open(sharding="ddp"), ("ddp",)),
    ],
)
def test_shardings(spec: RunSpec, shardings: tuple[str, ...]) -> None:
    assert shardings_of(spec) == shardings


class TestSource:
    """Variants are made of the traces that can be had."""

    def source(self, spec: RunSpec) -> VariantSource:
        return VariantSource(
            spec=spec,
            entry=make_entry(),
            data=make_data(),
            has_cpu_offers=False,
            cache_dir=Path("nowhere"),
            timeout_s=1.0,
        )

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, bool]]:
        """Precision, checkpointing and whether the tracer may be started; float16 cannot be traced here."""
        calls: list[tuple[str, bool, bool]] = []

        def found(spec: RunSpec, *_: Any, may_trace: bool, **__: Any) -> RunTraces:
            training = spec.training
            calls.append((training.precision, bool(training.gradient_checkpointing), may_trace))
            if training.precision == "fp16-mixed":
                raise DataError("no trace", hint=None)
            return make_traces(spec=spec)

        monkeypatch.setattr(variants, "run_traces", found)
        return calls

    def test_the_first_is_plain_and_must_be_had(self, asked: list[tuple[str, bool, bool]]) -> None:
        spec = left_open(checkpoint_every_steps=7, keep_checkpoints=3)
        first = self.source(spec).first()
        assert asked == [("bf16-mixed", False, True)]
        assert (first.profile.precision, first.profile.gradient_checkpointing) == ("bf16-mixed", False)
        assert (first.shardings, first.checkpoint_every_steps, first.keep_checkpoints) == (("ddp", "fsdp"), 7, 3)
        with pytest.raises(DataError):
            self.source(left_open(precision="fp16-mixed")).first()

    @pytest.mark.parametrize("traces_checkpointing", [True, False])
    def test_others_are_taken_as_far_as_they_can_be_had(
        self, asked: list[tuple[str, bool, bool]], traces_checkpointing: bool
    ) -> None:
        others = self.source(left_open()).others(traces_checkpointing=traces_checkpointing)
        assert [(one.profile.precision, one.profile.gradient_checkpointing) for one in others.variants] == [
            ("bf16-mixed", True),
            ("fp32", False),
            ("fp32", True),
        ]
        assert len(asked) == 5
        assert all(may == (traces_checkpointing or not is_checkpointed) for _, is_checkpointed, may in asked)
        # What could not be had is told.
        assert [text.split(" was")[0] for text in others.left_out] == [
            "training in fp16-mixed",
            "gradient checkpointing in fp16-mixed",
        ]
        asked.clear()
        assert self.source(make_spec()).others(traces_checkpointing=True).variants == ()
        assert asked == []
